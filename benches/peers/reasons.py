"""What is known of a target that is missed: where the time or the memory goes, by what was profiled."""

REASONS = {
    "check ÷ its echo": (
        "9 hundredths of a check are its own work, 3 who asks; what else it has over its echo is HTTP/2, the runtime and "
        "the system ([profile](performance/profile.md)). A denial, with a line of the log, costs a fifth more."
    ),
    "check ÷ empty echo as a newcomer": (
        "nothing pinned, the load takes the larger part of both cores, and is what is slow; by the server's CPU an "
        "answer, in the second table below, the ratio is larger."
    ),
    "check, 8 × 32 ÷ Redis": (
        "four fifths of a check are HTTP/2, gRPC and sockets, which its echo pays as well ([profile](performance/profile.md)); "
        "a `GET` has a dozen bytes of protocol."
    ),
    "check, 50 × 1 ÷ Redis": (
        "with one request a connection each answer is a read and a write of its own for both, and HTTP/2 frames, "
        "header tables and a timer beside."
    ),
    "batches, checks/s ÷ Redis": (
        "`-P 16` sends 16 bare look-ups at once; an item of a batch is a protobuf message in and one out, with its "
        "canonical form, keyed digest, decision and id."
    ),
    "check ÷ Postgres": "Postgres is as fast as the processor too: what the target was set by had 17 500 look-ups/s.",
    "check ÷ Cerbos": "what the target was set by had 2 400 answers/s of Cerbos, which since has had 2 300 to 5 300.",
    "check ÷ rbldnsd": "UDP, a datagram each way and no connection, against HTTP/2.",
    "batches, checks/s on one core": (
        "of an item's time 36 hundredths go to judging it (14 to the canonical form, 10 to the digest, HMAC-SHA-256), 15 to "
        "reading its message and 11 to writing the answer with protobuf, 6 to counting it and to the lines of denials."
    ),
    "batches, checks/s ÷ one": "the same: an item costs what a check costs without its HTTP/2.",
    "latency 1 × 1": "one request at a time for a second or so: what else is done on the machine just then is its p99.",
    "resident memory a ban": (
        "a fifth of it was needed on the way, for pages of JSON and bans that waited to be filed, and is free again; the "
        "allocator hands it back 1.5 s later, and then it is some 80 B."
    ),
    "cold load": "most of it is the database's: reading bans and keys by pages, and writing them down as JSON.",
    "import into SQLite": (
        "SQLite's one thread, and the disk: digests come in no order, so from some 150 000 on nearly every row rewrites a "
        "page of the keys' b-tree: a bare loop takes 22 to 31 µs a row with it and 5 without, a third of that for the log "
        "and for moving it into the file. The thread is busy three quarters of the time; the rest is each chunk's fsync, "
        "other threads on its core, and what is written down between two statements."
    ),
    "import into Postgres": (
        "one backend, busy throughout: of a row's time a third goes to the ban, a quarter to its key, each with its "
        "indexes and its log, the rest to the target, taking rows apart and reading them back."
    ),
    "resident at rest": "19 MB of it are pages of the binary, which the processes of a machine share; 10 MB are a pod's own.",
}


def reason(what):
    """None where there is none."""
    return next((words for beginning, words in REASONS.items() if what.startswith(beginning)), None)
