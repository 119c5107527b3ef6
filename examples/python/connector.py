"""A channel connector: asks before each interaction, and bans from one.

From the root of the tree, once:

    python3 -m venv target/python && target/python/bin/pip install -r examples/python/requirements.txt
    mkdir -p target/stubs && target/python/bin/python -m grpc_tools.protoc -I proto \
        --python_out=target/stubs --grpc_python_out=target/stubs \
        proto/bancheck/v1/*.proto proto/google/rpc/status.proto

and then, with a server running:

    PYTHONPATH=target/stubs target/python/bin/python examples/python/connector.py

Each line of standard input is `check CHANNEL IDENTITY…` or `ban CHANNEL IDENTITY REASON…`.
"""

import collections
import os
import sys
import time

import grpc

from bancheck.v1 import admin_service_pb2 as admin
from bancheck.v1 import admin_service_pb2_grpc, check_service_pb2_grpc
from bancheck.v1 import check_service_pb2 as check
from bancheck.v1 import types_pb2 as types

# What no other answer can mend: something about this connector is wrong, and somebody must know.
MISTAKES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}
# Every pod has the same answers: calls go to all that a name resolves to.
OPTIONS = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')]


class Answers:
    """Answers that may be used again, each until its `reuse_until`; the oldest go first."""

    def __init__(self, most=10_000):
        self.most = most
        self.kept = collections.OrderedDict()

    def get(self, question):
        answer, until = self.kept.get(question, (None, 0))
        return answer if time.time() < until else None

    def keep(self, question, answer):
        if not answer.HasField("reuse_until"):
            return
        self.kept[question] = (answer, answer.reuse_until.ToNanoseconds() / 1e9)
        self.kept.move_to_end(question)
        if len(self.kept) > self.most:
            self.kept.popitem(last=False)

    def forget(self):
        self.kept.clear()


class Connector:
    def __init__(self, setting):
        self.tenant = setting.get("BANCHECK_TENANT", "default")
        # Longer than this nobody lets a customer wait; then the failure mode answers.
        self.deadline = float(setting.get("DEADLINE_MS", "250")) / 1000
        # The tenant's failure mode, as its settings have it: OPEN lets through, CLOSED turns away.
        self.closed = setting.get("FAILURE_MODE", "OPEN").upper() == "CLOSED"
        token = setting.get("BANCHECK_TOKEN")
        self.credential = [("authorization", f"Bearer {token}")] if token else []
        ca = setting.get("BANCHECK_CA")
        roots = open(ca, "rb").read() if ca else None

        def channel(url):
            scheme, _, address = url.rpartition("://")
            if scheme == "https":
                return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), OPTIONS)
            return grpc.insecure_channel(address, OPTIONS)

        self.checks = check_service_pb2_grpc.CheckServiceStub(
            channel(setting.get("BANCHECK_ENDPOINT", "http://127.0.0.1:50051"))
        )
        self.desk = admin_service_pb2_grpc.AdminServiceStub(
            channel(setting.get("BANCHECK_ADMIN_ENDPOINT", "http://127.0.0.1:50052"))
        )
        # The newest of our own writes: checks see it, whichever pod answers them.
        self.token = ""
        self.answers = Answers()

    def check(self, channel, identities):
        """Whether an interaction may go on, what to do if not, and what that rests on."""
        question = (channel, tuple(identities))
        reused = self.answers.get(question)
        if reused:
            return self.told(reused, "reused")
        request = check.CheckInteractionRequest(
            tenant=self.tenant,
            channel=types.Channel.Value(channel),
            identities=[types.Identity(value=value) for value in identities],
        )
        if self.token:
            request.consistency.at_least_as_fresh.token = self.token
        try:
            answer = self.checks.CheckInteraction(
                request, timeout=self.deadline, metadata=self.credential
            )
        except grpc.RpcError as error:
            if error.code() in MISTAKES:
                print(f"the check was refused: {error.details()}", file=sys.stderr)
            return ("DENY" if self.closed else "ALLOW", f"no answer ({error.code().name})")
        self.answers.keep(question, answer)
        return self.told(answer, types.DecisionBasis.Name(answer.basis).removeprefix("DECISION_BASIS_"))

    @staticmethod
    def told(answer, basis):
        if answer.decision == types.DECISION_DENY:
            return ("DENY", basis, types.Treatment.Name(answer.treatment), answer.match.ban_id)
        return ("ALLOW", basis)

    def ban(self, channel, identity, reason):
        """The operator's button: the queue's settings decide where the ban goes and how long it lasts."""
        answer = self.desk.BanInteraction(
            admin.BanInteractionRequest(
                tenant=self.tenant,
                channel=types.Channel.Value(channel),
                interaction_id=f"example-{time.time_ns()}",
                live=True,
                identities=[types.Identity(value=identity)],
                reason=reason,
            ),
            timeout=10,
            metadata=self.credential,
        )
        # Tokens compare as they are: the greater is the newer.
        self.token = max(self.token, answer.written_at.token)
        self.answers.forget()
        return ("BANNED", answer.bans[0].ban_id)


def main():
    connector = Connector(os.environ)
    for line in sys.stdin:
        what, channel, identity, *rest = line.split()
        channel = f"CHANNEL_{channel.upper()}"
        try:
            if what == "ban":
                said = connector.ban(channel, identity, " ".join(rest))
            else:
                said = connector.check(channel, [identity, *rest])
        except grpc.RpcError as error:
            said = ("ERROR", error.code().name, error.details())
        print(*said, flush=True)


if __name__ == "__main__":
    main()
