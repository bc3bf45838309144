/** Whether HAProxy can compile a rule's regular expression: it is asked, with the very words that an amphora renders. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Logger } from "pino";
import { quoteHaproxy } from "../templates/haproxy/quote.ts";
import { haproxyView } from "../templates/haproxy.ts";
import { type L7RuleSpec, parseSpec } from "../templates/spec.ts";
import { Turns } from "./turns.ts";

/** A configuration of one rule is read in some 10 ms (ms). */
const LIMIT = 5000;
const MOST_REMEMBERED = 1000;
const NOBODY = "00000000-0000-4000-8000-000000000000";
const OTHERS = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"] as const;

export type Matching = Pick<L7RuleSpec, "type" | "compare_type" | "key" | "value">;

export class RegularExpressions {
  readonly #binary: string;
  readonly #log: Logger;
  /** what HAProxy says of a configuration; the latest last */
  readonly #known = new Map<string, Promise<string | null>>();
  readonly #turns = new Turns();

  constructor(binary: string, log: Logger) {
    this.#binary = binary;
    this.#log = log;
  }

  /** @returns null when there is no such program here, which is told in the log: amphorae decide then */
  static async open(binary: string, log: Logger): Promise<RegularExpressions | null> {
    const { exitCode } = await execa(binary, ["-v"], { reject: false, timeout: LIMIT });
    if (exitCode === 0) return new RegularExpressions(binary, log);
    log.warn({ haproxy: binary }, "there is no HAProxy here to try regular expressions with: amphorae find out");
    return null;
  }

  /**
   * One at a time, whoever asks: a body may hold hundreds.
   * @param project whose rule it is
   * @returns what is wrong with the expression in HAProxy's words, or null
   */
  fault(rule: Matching, project: string): Promise<string | null> {
    const config = configOf(rule);
    const fault = this.#known.get(config) ?? this.#turns.take(project, () => this.#ask(config));
    this.#known.delete(config);
    this.#known.set(config, fault);
    const [oldest = config] = this.#known.keys();
    if (this.#known.size > MOST_REMEMBERED) this.#known.delete(oldest);
    // that there was no room for a file says nothing of the expression
    fault.catch(() => this.#known.delete(config));
    return fault;
  }

  async #ask(config: string): Promise<string | null> {
    const folder = await mkdtemp(join(tmpdir(), "amphora-regex-"));
    try {
      const file = join(folder, "haproxy.cfg");
      await writeFile(file, config, { mode: 0o600 });
      const result = await execa(this.#binary, ["-c", "-f", file], { reject: false, timeout: LIMIT });
      if (result.exitCode === 0) return null;
      if (result.timedOut) return `HAProxy can't compile it within ${LIMIT / 1000} s`;
      const reason = /regex '.*' is invalid(?: \(error=(.*), erroffset=(\d+)\))?/.exec(result.stderr);
      if (reason !== null) return `HAProxy can't compile it: ${reason[1] ?? "it is no regular expression"}`;
      // nothing that the client could mend
      this.#known.delete(config);
      this.#log.error({ output: result.stderr }, "HAProxy could not try a regular expression");
      return null;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

/** What an amphora would be given of the rule, in as little around it as HAProxy takes. */
function configOf(rule: Matching): string {
  const [listener, policy] = OTHERS;
  const spec = parseSpec({
    revision: 1,
    amphora_id: NOBODY,
    loadbalancer_id: NOBODY,
    role: "STANDALONE",
    vips: ["192.0.2.1"],
    listeners: [
      {
        id: listener,
        protocol: "HTTP",
        protocol_port: 80,
        l7policies: [{ id: policy, action: "REJECT", rules: [{ id: NOBODY, ...rule }] }],
      },
    ],
  });
  const tests = haproxyView(spec).frontends.flatMap(({ policies }) => policies.flatMap((each) => each.tests));
  const lines = tests.map(
    ({ fetch, match, value }) => `    acl rule ${quoteHaproxy(fetch)} ${match} -- ${quoteHaproxy(value)}`,
  );
  return [
    "defaults",
    "    mode http",
    "    timeout connect 1s",
    "    timeout client 1s",
    "    timeout server 1s",
    "frontend rule",
    "    bind 127.0.0.1:1",
    ...lines,
    "    http-request deny if rule",
    "",
  ].join("\n");
}
