/** Who may do what: a table, read as Octavia's policy is. */
import t from "tap";
import { type Action, authorize, mayEverywhere } from "../../controller/api/policy.ts";

const SECRETS = ["read-secrets", "write-secrets"] as const;
const ACTIONS: readonly Action[] = ["read", "write", ...SECRETS, "read-quota", "write-quota", "administer"];
/** Secrets are for those of the project alone. */
const EVERYWHERE = ACTIONS.filter((action) => !action.endsWith("-secrets"));

/** Role -> what it allows in the caller's own project, and everywhere. */
const TABLE: Readonly<Record<string, { own: readonly Action[]; everywhere: readonly Action[] }>> = {
  admin: { own: ACTIONS, everywhere: EVERYWHERE },
  "load-balancer_admin": { own: ACTIONS, everywhere: EVERYWHERE },
  "load-balancer_member": { own: ["read", "write", ...SECRETS, "read-quota"], everywhere: [] },
  "load-balancer_observer": { own: ["read", "read-secrets", "read-quota"], everywhere: [] },
  reader: { own: ["read", "read-secrets", "read-quota"], everywhere: [] },
  "load-balancer_global_observer": { own: ["read", "read-quota"], everywhere: ["read", "read-quota"] },
  "load-balancer_quota_admin": { own: ["read-quota", "write-quota"], everywhere: ["read-quota", "write-quota"] },
  member: { own: SECRETS, everywhere: [] },
  creator: { own: SECRETS, everywhere: [] },
  observer: { own: ["read-secrets"], everywhere: [] },
  Admin: { own: [], everywhere: [] },
  "admin ": { own: [], everywhere: [] },
  "": { own: [], everywhere: [] },
};

for (const [role, { own, everywhere }] of Object.entries(TABLE)) {
  t.test(`the role '${role}' allows ${own.join(", ") || "nothing"}`, async (t) => {
    const caller = { userId: "u", projectId: "alpha", roles: [role], system: false };
    for (const action of ACTIONS) {
      t.equal(
        allowed(() => authorize(caller, action, "alpha")),
        own.includes(action),
        `${action} in its own project`,
      );
      t.equal(
        allowed(() => authorize(caller, action, "beta")),
        everywhere.includes(action),
        `${action} in another`,
      );
      t.equal(
        allowed(() => authorize(caller, action)),
        own.includes(action),
        `${action} of nobody's`,
      );
      t.equal(mayEverywhere(caller, action), everywhere.includes(action));
    }
  });
}

t.test("roles add up", async (t) => {
  const caller = { userId: "u", projectId: "alpha", roles: ["reader", "load-balancer_quota_admin"], system: false };
  t.ok(allowed(() => authorize(caller, "read", "alpha")));
  t.ok(allowed(() => authorize(caller, "write-quota", "beta")));
  t.notOk(allowed(() => authorize(caller, "write", "alpha")));
});

t.test("a reader of the whole deployment reads everything, and writes nothing", async (t) => {
  const caller = { userId: "u", projectId: "", roles: ["reader"], system: true };
  t.ok(allowed(() => authorize(caller, "read", "beta")));
  t.ok(allowed(() => authorize(caller, "read-quota", "beta")));
  for (const action of ["write", "write-quota", "administer"] as const) {
    t.notOk(
      allowed(() => authorize(caller, action, "beta")),
      action,
    );
  }
});

t.test("a token of no project has no project of its own", async (t) => {
  const caller = { userId: "u", projectId: "", roles: ["load-balancer_member"], system: false };
  t.notOk(allowed(() => authorize(caller, "read", "")));
  t.notOk(allowed(() => authorize(caller, "write", "")));
});

function allowed(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof Error && "status" in error && error.status === 403) return false;
    throw error;
  }
}
