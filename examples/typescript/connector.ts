// A channel connector: asks before each interaction, and bans from one.
//
// From this folder, with a server running: npm ci && npm run build && npm start
//
// Each line of standard input is `check CHANNEL IDENTITY…` or `ban CHANNEL IDENTITY REASON…`.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { env } from "node:process";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

interface Timestamp {
  seconds: string;
  nanos: number;
}
interface CheckAnswer {
  decision: string;
  basis: string;
  treatment: string;
  match?: { ban_id: string };
  reuse_until?: Timestamp;
}
interface BanAnswer {
  bans: { ban_id: string }[];
  written_at: { token: string };
}
type Unary<Answer> = (
  request: object,
  credential: grpc.Metadata,
  options: grpc.CallOptions,
  done: (error: grpc.ServiceError | null, answer?: Answer) => void,
) => void;

// What no other answer can mend: something about this connector is wrong, and somebody must know.
const MISTAKES = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.NOT_FOUND,
  grpc.status.UNAUTHENTICATED,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNIMPLEMENTED,
]);
// Every pod has the same answers: calls go to all that a name resolves to.
const OPTIONS = { "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}' };
const PROTO = env.PROTO_DIR ?? new URL("../../../proto", import.meta.url).pathname;

/** Answers that may be used again, each until its `reuse_until`; the oldest go first. */
class Answers {
  #kept = new Map<string, { answer: CheckAnswer; until: number }>();

  constructor(readonly most = 10_000) {}

  get(question: string): CheckAnswer | undefined {
    const found = this.#kept.get(question);
    return found && Date.now() < found.until ? found.answer : undefined;
  }

  keep(question: string, answer: CheckAnswer) {
    if (!answer.reuse_until) return;
    const { seconds, nanos } = answer.reuse_until;
    this.#kept.delete(question);
    this.#kept.set(question, { answer, until: Number(seconds) * 1000 + nanos / 1e6 });
    if (this.#kept.size > this.most) {
      const [oldest] = this.#kept.keys();
      this.#kept.delete(oldest!);
    }
  }

  forget() {
    this.#kept.clear();
  }
}

class Connector {
  #tenant = env.BANCHECK_TENANT ?? "default";
  // Longer than this nobody lets a customer wait; then the failure mode answers.
  #deadline = Number(env.DEADLINE_MS ?? 250);
  // The tenant's failure mode, as its settings have it: OPEN lets through, CLOSED turns away.
  #closed = (env.FAILURE_MODE ?? "OPEN").toUpperCase() === "CLOSED";
  #credential = new grpc.Metadata();
  #checks: grpc.Client;
  #desk: grpc.Client;
  // The newest of our own writes: checks see it, whichever pod answers them.
  #token = "";
  #answers = new Answers();

  constructor() {
    if (env.BANCHECK_TOKEN) this.#credential.set("authorization", `Bearer ${env.BANCHECK_TOKEN}`);
    const loaded = grpc.loadPackageDefinition(
      loadSync(["bancheck/v1/check_service.proto", "bancheck/v1/admin_service.proto"], {
        includeDirs: [PROTO],
        keepCase: true,
        longs: String,
        enums: String,
        defaults: true,
      }),
    ) as any;
    const connect = (service: grpc.ServiceClientConstructor, url: string): grpc.Client => {
      const [, scheme, address] = /^(?:(https?):\/\/)?(.+?)\/?$/.exec(url)!;
      const roots = env.BANCHECK_CA ? readFileSync(env.BANCHECK_CA) : null;
      const credentials =
        scheme === "https" ? grpc.credentials.createSsl(roots) : grpc.credentials.createInsecure();
      return new service(address!, credentials, OPTIONS);
    };
    const v1 = loaded.bancheck.v1;
    this.#checks = connect(v1.CheckService, env.BANCHECK_ENDPOINT ?? "http://127.0.0.1:50051");
    this.#desk = connect(v1.AdminService, env.BANCHECK_ADMIN_ENDPOINT ?? "http://127.0.0.1:50052");
  }

  /** Whether an interaction may go on, what to do if not, and what that rests on. */
  async check(channel: string, identities: string[]): Promise<string[]> {
    const question = JSON.stringify([channel, identities]);
    const reused = this.#answers.get(question);
    if (reused) return told(reused, "reused");
    try {
      const answer = await this.#call<CheckAnswer>(this.#checks, "CheckInteraction", this.#deadline, {
        tenant: this.#tenant,
        channel,
        identities: identities.map((value) => ({ value })),
        consistency: this.#token ? { at_least_as_fresh: { token: this.#token } } : undefined,
      });
      this.#answers.keep(question, answer);
      return told(answer, answer.basis.replace("DECISION_BASIS_", ""));
    } catch (error) {
      const { code, details } = error as grpc.ServiceError;
      if (MISTAKES.has(code)) console.error(`the check was refused: ${details}`);
      return [this.#closed ? "DENY" : "ALLOW", `no answer (${grpc.status[code]})`];
    }
  }

  /** The operator's button: the queue's settings decide where the ban goes and how long it lasts. */
  async ban(channel: string, identity: string, reason: string): Promise<string[]> {
    const answer = await this.#call<BanAnswer>(this.#desk, "BanInteraction", 10_000, {
      tenant: this.#tenant,
      channel,
      interaction_id: `example-${Date.now()}`,
      live: true,
      identities: [{ value: identity }],
      reason,
    });
    // Tokens compare as they are: the greater is the newer.
    if (answer.written_at.token > this.#token) this.#token = answer.written_at.token;
    this.#answers.forget();
    return ["BANNED", answer.bans[0]!.ban_id];
  }

  #call<Answer>(client: grpc.Client, rpc: string, within: number, request: object): Promise<Answer> {
    const call = (client as unknown as Record<string, Unary<Answer>>)[rpc]!;
    return new Promise((resolve, reject) =>
      call.call(client, request, this.#credential, { deadline: Date.now() + within }, (error, answer) =>
        error ? reject(error) : resolve(answer!),
      ),
    );
  }
}

function told(answer: CheckAnswer, basis: string): string[] {
  return answer.decision === "DECISION_DENY"
    ? ["DENY", basis, answer.treatment, answer.match?.ban_id ?? ""]
    : ["ALLOW", basis];
}

const connector = new Connector();
for await (const line of createInterface({ input: process.stdin })) {
  const [what, channel, identity, ...rest] = line.trim().split(/\s+/);
  const on = `CHANNEL_${channel?.toUpperCase()}`;
  try {
    const said =
      what === "ban"
        ? await connector.ban(on, identity!, rest.join(" "))
        : await connector.check(on, [identity!, ...rest]);
    console.log(said.join(" "));
  } catch (error) {
    const { code, details } = error as grpc.ServiceError;
    console.log("ERROR", grpc.status[code], details);
  }
}
process.exit(0);
