/** openstacksdk against the API alone, with a real Keystone: a load balancer's whole life, and who may do what. */
import { join } from "node:path";
import t from "tap";
import { startCloud, USERS } from "../support/cloud.ts";
import { python } from "../support/openstack.ts";

/** By user: cloud.ts says what role each has, and on which project. */
const WHO_MAY = `
who    list show change failover create quota set-quota flavors profiles amphorae
admin  yes  yes  yes    yes      yes    yes   yes       yes     yes      yes
lena   yes  yes  yes    yes      yes    yes   yes       yes     yes      yes
alice  yes  yes  yes    -        yes    yes   -         yes     -        -
bob    no   -    -      -        yes    -     -         yes     -        -
olga   yes  yes  -      -        -      yes   -         yes     -        -
rita   yes  yes  -      -        -      yes   -         yes     -        -
mona   yes  yes  -      -        -      yes   -         yes     -        -
nora   -    -    -      -        -      -     -         -       -        -
gus    yes  yes  -      -        -      yes   -         yes     -        -
sybil  yes  yes  -      -        -      yes   -         yes     -        -
quinn  -    -    -      -        -      yes   yes       -       -        -
`;

const cloud = await startCloud(t, {}, { compute: "noop", network: "noop" });
const script = (name: string) => join(import.meta.dirname, name);

t.test("a load balancer's life, from the first request to the last", async () => {
  await python(cloud.environment("alice"), script("openstack-sdk.py"));
});

t.test("who may do what with a load balancer of alice's, and with the deployment", async (t) => {
  const users = Object.fromEntries(USERS.map((name) => [name, cloud.environment(name)]));
  const table = await python({}, script("openstack-roles.py"), JSON.stringify(users));
  const lines = (text: string) => text.trim().replace(/ +/g, " ").split("\n").sort();
  t.strictSame(lines(table), lines(WHO_MAY));
});
