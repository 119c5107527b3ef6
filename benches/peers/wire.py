"""The messages that are sent, written by hand: h2load sends a file and reads nothing.

A gRPC body is a flag, four bytes of length and a protobuf message; a body may hold several, one
after the other, which is what a stream sends.
"""

# Two numbers of one country; the first gets banned.
BANNED, ALLOWED, QUEUE = "+420601123456", "+420601123457", "support"
# The items of a batch, and one in so many of them that is denied.
BATCH, ONE_IN = 1_000, 20
# The questions of a stream.
STREAM = 10_000


def varint(number):
    told = bytearray()
    while number >= 0x80:
        told.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*told, number])


def field(number, value):
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def framed(*messages):
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


def question(phone, tenant="default"):
    """A CheckInteractionRequest."""
    identity = field(1, 4) + field(2, phone)  # PHONE_NUMBER, value
    return field(1, tenant) + field(2, 3) + field(4, QUEUE) + field(5, identity)  # CALL


def phone_of_many(at):
    """One of as many numbers as items; one in twenty is among those that `bench seed` bans."""
    return f"+999{at:010}" if at % ONE_IN == 0 else f"+42060{at % 10_000_000:07}"


def batch():
    """A BatchCheckInteractionsRequest."""
    return b"".join(field(1, question(phone_of_many(at))) for at in range(BATCH))


def stream():
    """StreamCheckInteractionsRequests."""
    return [field(1, str(at)) + field(2, question(phone_of_many(at % BATCH))) for at in range(STREAM)]


def may_he_call():
    """What comes nearest to a check in Cerbos, a CheckResourcesRequest."""
    principal = field(1, ALLOWED) + field(3, "customer")
    call = field(1, "call") + field(3, "call-1")
    return field(1, "1") + field(3, principal) + field(4, field(1, "place") + field(2, call))


def write_bodies(folder):
    """Puts every body into a file of its own."""
    bodies = {
        "miss": framed(question(ALLOWED)),
        "hit": framed(question(BANNED)),
        "empty": framed(b""),
        "batch": framed(batch()),
        "stream": framed(*stream()),
        "cerbos": framed(may_he_call()),
    }
    for name, body in bodies.items():
        (folder / f"{name}.body").write_bytes(body)
