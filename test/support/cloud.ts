/** A small cloud around the controller: a real Keystone with users of every role, and a catalogue that leads to both. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import YAML from "yaml";
import { Deployment } from "./deployment.ts";
import { type FakeNetworks, startFakeNeutron } from "./fake-neutron.ts";
import { Keystone, PASSWORD } from "./keystone.ts";
import type { Environment } from "./openstack.ts";
import type { Scope } from "./scope.ts";

/** Who there is, and what they may do where. Their tokens are for that project, or for the cloud as a whole. */
const ROLES = {
  alice: ["load-balancer_member", "alpha"],
  bob: ["load-balancer_member", "beta"],
  olga: ["load-balancer_observer", "alpha"],
  rita: ["reader", "alpha"],
  /** Keystone's own member, whose role implies the reader's */
  mona: ["member", "alpha"],
  /** another service's role alone */
  nora: ["creator", "alpha"],
  gus: ["load-balancer_global_observer", "beta"],
  quinn: ["load-balancer_quota_admin", "beta"],
  lena: ["load-balancer_admin", "beta"],
  sybil: ["reader", "system"],
} as const;

export type UserName = keyof typeof ROLES | "admin";
export const USERS: readonly UserName[] = ["admin", ...(Object.keys(ROLES) as (keyof typeof ROLES)[])];

export interface Cloud {
  readonly keystone: Keystone;
  readonly deployment: Deployment;
  /** ids by name */
  readonly projects: { readonly alpha: string; readonly beta: string };
  /** what OpenStack's clients find a user by, as in an `openrc` */
  environment(user: UserName): Environment;
}

/** @param settings of the controller, beside those about identity */
export async function startCloud(
  t: Scope,
  known: FakeNetworks,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Cloud> {
  const keystone = await Keystone.start(t);
  const projects = { alpha: await keystone.project("alpha"), beta: await keystone.project("beta") };
  for (const [name, [role, where]] of Object.entries(ROLES)) {
    const id = await keystone.user(name);
    await keystone.grant(id, role, where === "system" ? { system: true } : { project: projects[where] });
  }
  const service = await keystone.project("service");
  await keystone.grant(await keystone.user("amphora"), "service", { project: service });
  const dir = await mkdtemp(join(tmpdir(), "amphora-cloud-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const passwordFile = join(dir, "password");
  await writeFile(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  const config = join(dir, "settings.yaml");
  const identity = { identity: "keystone", keystone: { "auth-url": keystone.url, "password-file": passwordFile } };
  await writeFile(config, YAML.stringify({ ...identity, ...settings }));
  const deployment = await Deployment.make(t);
  await deployment.start("--config", config);
  await keystone.endpoint("load-balancer", deployment.base);
  await keystone.endpoint("key-manager", `${deployment.base}/key-manager`);
  await keystone.endpoint("network", await startFakeNeutron(t, known));
  return {
    keystone,
    deployment,
    projects,
    environment: (user) => ({
      OS_AUTH_URL: keystone.url,
      OS_IDENTITY_API_VERSION: "3",
      OS_REGION_NAME: "RegionOne",
      OS_USERNAME: user,
      OS_PASSWORD: PASSWORD,
      OS_USER_DOMAIN_NAME: "Default",
      ...scope(user),
    }),
  };
}

function scope(user: UserName): Environment {
  const [, where] = user === "admin" ? ["admin", "admin"] : ROLES[user];
  return where === "system"
    ? { OS_SYSTEM_SCOPE: "all" }
    : { OS_PROJECT_NAME: where, OS_PROJECT_DOMAIN_NAME: "Default" };
}
