/** Nothing that a tenant types becomes a directive of keepalived's: each string is one word where one word stood. */
import fc from "fast-check";
import t from "tap";
import { ipvsServices } from "../../templates/ipvs.ts";
import { CHECKERS_CONF, render } from "../../templates/render.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { arbitraryIpvsSpec, forwardSpec } from "../support/ipvs.ts";
import { member, monitor, spec } from "../support/specs.ts";

function checkers(one: AmphoraSpec): string {
  return render(one).get(CHECKERS_CONF)?.content ?? "";
}

t.test("a spec without IPVS listeners has no such files", async (t) => {
  t.equal(checkers(spec()), "");
});

t.test("blocks and words are the spec's own, whatever it holds", async () => {
  fc.assert(
    fc.property(arbitraryIpvsSpec, (one) => {
      const services = ipvsServices(one);
      const lines = checkers(one)
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#") && !/^ +# member [0-9a-f-]{36}$/.test(line));
      const count = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length;
      return (
        lines.every((line) => /^ *(?:\}|[A-Za-z_-]+[0-9]?(?: [!-~]+)*(?: \{)?|misc_path "[ -!#-~]+")$/.test(line)) &&
        count(/\{$/) === count(/^ *\}$/) &&
        count(/^virtual_server /) === services.length &&
        count(/^ {4}real_server /) === services.reduce((sum, { members }) => sum + members.length, 0)
      );
    }),
  );
});

t.test("a check's path reaches keepalived without what it would take for its own language", async (t) => {
  const path = `/a?b=c&d=%20/$x!#"'{}\\~SEQ(1,2)@^|\`<>;`;
  const text = checkers(forwardSpec({ pool: { health_monitor: monitor({ url_path: path }) }, members: [member(1)] }));
  const written = /path (\S+)\n/.exec(text)?.[1] ?? "";
  t.match(written, /^[A-Za-z0-9/._?&=%:@,;+*()-]+$/);
  t.equal(decodeURIComponent(written), decodeURIComponent(path), "and means the same to the member");
});

t.test("successes are counted: by keepalived where it can, else by our command", async (t) => {
  const check = (changes: Parameters<typeof monitor>[0]) =>
    checkers(forwardSpec({ pool: { health_monitor: monitor(changes) }, members: [member(1)] }));
  const urls = (max_retries: number) => check({ type: "HTTP", max_retries }).match(/ url \{/g)?.length;
  t.strictSame([1, 2, 3, 10].map(urls), [1, 1, 2, 9]);
  t.match(check({ type: "HTTP", max_retries: 1 }), "fast_recovery");
  t.notMatch(check({ type: "HTTP", max_retries: 2 }), "fast_recovery");
  t.match(check({ type: "TCP", max_retries: 1 }), "TCP_CHECK");
  t.match(check({ type: "PING", max_retries: 1 }), "PING_CHECK");
  t.match(check({ type: "TCP", max_retries: 2 }), 'misc_path "/run/amphora/check-member TCP 10.77.0.21 8080 1 2 1 ');
  t.match(check({ type: "TCP", max_retries: 1, max_retries_down: 4 }), "retry 3\n");
});

t.test("disabled members and monitors are not checked", async (t) => {
  const off = { health_monitor: monitor({ type: "TCP", admin_state_up: false }) };
  t.notMatch(checkers(forwardSpec({ pool: off })), "_CHECK");
  const text = checkers(
    forwardSpec({
      pool: { health_monitor: monitor({ type: "TCP" }) },
      members: [member(1, { admin_state_up: false }), member(2)],
    }),
  );
  t.equal(text.match(/_CHECK/g)?.length, 1);
});
