/** Layer 7 policies: which requests they match, and what is done with those. */
import type { AmphoraSpec, L7PolicySpec, L7RuleSpec, ListenerSpec } from "../spec.ts";
import { activePolicies, activeRules, backendName } from "./names.ts";
import { showsVerification } from "./tls.ts";

/** One way to find out whether a rule matches. A rule matches when one of its tests does. */
export interface TestView {
  readonly rule: string;
  readonly fetch: string;
  /** such as -i -m str */
  readonly match: string;
  readonly value: string;
}

export interface PolicyView {
  readonly id: string;
  readonly tests: readonly TestView[];
  readonly backend: string | null;
  readonly location: string | null;
  readonly prefix: string | null;
  readonly code: number;
  /** the status that refuses the request */
  readonly deny: number | null;
  readonly condition: string;
}

const MATCHES: Record<L7RuleSpec["compare_type"], string> = {
  EQUAL_TO: "-m str",
  STARTS_WITH: "-m beg",
  ENDS_WITH: "-m end",
  CONTAINS: "-m sub",
  REGEX: "-m reg",
};

/** What stands in a condition while no policy has chosen a pool. */
const UNDECIDED = "!{ var(txn.backend) -m found }";

/**
 * The policies in their order. Each is one `http-request` rule, so that HAProxy evaluates them in that order whatever
 * they do; a pool is kept in a variable for `use_backend`, which comes after all of them, and ends the policies.
 */
export function policyViews(spec: AmphoraSpec, listener: ListenerSpec): PolicyView[] {
  let mayBeDecided = false;
  return activePolicies(listener).map((policy) => {
    const rules = activeRules(policy);
    const view = {
      id: policy.id,
      tests: rules.flatMap((rule) => testsOf(rule, showsVerification(listener))),
      ...actionOf(spec, listener, policy),
      code: policy.redirect_http_code,
      condition: [
        ...(mayBeDecided ? [UNDECIDED] : []),
        ...rules.map(({ id, invert }) => (invert ? `!${id}` : id)),
      ].join(" "),
    };
    mayBeDecided ||= view.backend !== null;
    return view;
  });
}

function actionOf(
  spec: AmphoraSpec,
  listener: ListenerSpec,
  policy: L7PolicySpec,
): Pick<PolicyView, "backend" | "location" | "prefix" | "deny"> {
  const action = { backend: null, location: null, prefix: null, deny: null };
  if (policy.action === "REDIRECT_TO_URL" && policy.redirect_url !== null) {
    return { ...action, location: literal(policy.redirect_url) };
  }
  if (policy.action === "REDIRECT_PREFIX" && policy.redirect_prefix !== null) {
    return { ...action, prefix: literal(policy.redirect_prefix) };
  }
  if (policy.action !== "REDIRECT_TO_POOL") return { ...action, deny: 403 };
  const pool = spec.pools.find(({ id, admin_state_up }) => id === policy.redirect_pool_id && admin_state_up);
  // a disabled pool serves nobody, as when it is the default one
  return pool === undefined ? { ...action, deny: 503 } : { ...action, backend: backendName(pool, listener) };
}

/** Text in a log-format string, where % begins an expression (configuration manual, 8.2.6 "Custom log format"). */
function literal(text: string): string {
  return text.replaceAll("%", "%%");
}

/** @param lenient whether clients with a wrong certificate are let in: its fields are not to be believed */
function testsOf(rule: L7RuleSpec, lenient: boolean): TestView[] {
  const test = (fetch: string, options = "", value = rule.value): TestView => ({
    rule: rule.id,
    fetch,
    match: options + MATCHES[rule.compare_type],
    value,
  });
  switch (rule.type) {
    case "HOST_NAME":
      // the port that a client may name is none of the host's name; a value that holds one is compared with all
      return [test("req.hdr(host),host_only", "-i "), test("req.hdr(host)", "-i ")];
    case "PATH":
      return [test("path")];
    case "FILE_TYPE":
      return [fileTypeTest(rule)];
    case "HEADER":
      // each value of a list, and the line as a whole: values may hold commas
      return [test(`req.hdr(${argument(rule.key)})`), test(`req.fhdr(${argument(rule.key)})`)];
    case "COOKIE":
      return [test(`req.cook(${argument(rule.key)})`)];
    case "SSL_DN_FIELD":
      return [test(lenient ? dnVariable(rule) : `ssl_c_s_dn(${argument(rule.key)})`)];
    case "SSL_CONN_HAS_CERT":
      return [{ rule: rule.id, fetch: "ssl_c_used", match: "-m bool", value: "true" }];
    case "SSL_VERIFY_RESULT":
      return [{ rule: rule.id, fetch: "ssl_c_verify", match: "-m int", value: rule.value }];
  }
}

/** The last part of the path, after its last dot: all of it must match, with or without the dot in the value. */
function fileTypeTest({ id, compare_type, value }: L7RuleSpec): TestView {
  if (compare_type !== "REGEX") {
    return { rule: id, fetch: "path", match: MATCHES.ENDS_WITH, value: value.startsWith(".") ? value : `.${value}` };
  }
  return { rule: id, fetch: "path", match: MATCHES.REGEX, value: `\\.(?=[^./]*$)(?:${value})$` };
}

/** A name as the argument of a fetch method, where quotes have a meaning of their own (manual, 2.2). */
function argument(name: string | null): string {
  return `"${name ?? ""}"`;
}

/** What a verified certificate says: a variable for each part of the name that a rule asks for. */
export interface DnView {
  readonly variable: string;
  readonly fetch: string;
}

/** The variables that must be set before the policies are looked at. */
export function dnViews(listener: ListenerSpec): DnView[] {
  if (!showsVerification(listener)) return [];
  const rules = activePolicies(listener).flatMap(activeRules);
  const keys = new Set(rules.flatMap(({ type, key }) => (type === "SSL_DN_FIELD" && key !== null ? [key] : [])));
  return [...keys].map((key) => ({ variable: `txn.dn_${key}`, fetch: `ssl_c_s_dn(${argument(key)})` }));
}

function dnVariable({ key }: L7RuleSpec): string {
  return `var(txn.dn_${key})`;
}
