/** What the API takes, an amphora takes: whatever is refused is refused before it is written down. */
import fc from "fast-check";
import t from "tap";
import { specOf, tlsUsesOf } from "../../controller/amphorae/spec.ts";
import { CertificateReader } from "../../controller/certificates/reader.ts";
import { Tls } from "../../controller/certificates/tls.ts";
import { LocalSecrets } from "../../controller/drivers/local/secrets.ts";
import { declareSubnet } from "../../controller/drivers/local/subnets.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { findRow } from "../../controller/store/rows.ts";
import { loadTree, type Tree } from "../../controller/store/tree.ts";
import { type AmphoraSpec, parseSpec } from "../../templates/spec.ts";
import { type Answer, addressesOf, type Json, object, startApi, type TestApi } from "../support/api.ts";
import { arbitraryHistory, type PartKind, type Step } from "../support/arbitrary-api.ts";
import { haproxyCheck } from "../support/haproxy.ts";
import { store } from "../support/key-manager.ts";
import { TestAuthority } from "../support/pki.ts";
import { SQLITE } from "../support/postgres.ts";
import { alone } from "../support/standing.ts";
import { anAmphora } from "../support/tree.ts";

const NETWORK = { "network-id": "00000000-0000-4000-8000-0000000000a0", mtu: 1500 };
const FOUR = declareSubnet({ ...NETWORK, id: "00000000-0000-4000-8000-0000000000a1", cidr: "10.79.0.0/24" });
const SIX = declareSubnet({ ...NETWORK, id: "00000000-0000-4000-8000-0000000000a2", cidr: "2001:db8:79::/64" });
/** Of one family, the other, or both. */
const VIPS = [
  { vip_subnet_id: FOUR.id },
  { vip_subnet_id: SIX.id },
  { vip_subnet_id: FOUR.id, additional_vips: [{ subnet_id: SIX.id }] },
];
const authority = await TestAuthority.make("authority");

t.test("whatever has become of a load balancer by requests that were taken, it can be served", async (t) => {
  const api = await startApi(t, SQLITE, { network: addressesOf(FOUR.id, [FOUR, SIX]) });
  const tls = new Tls(new LocalSecrets(api.store, api.vault), new CertificateReader());
  t.teardown(() => tls.close());
  const keep = async (subject: string, kind: "P-256" | "RSA") => {
    const { certificate, private_key } = await authority.issue(subject, [], kind);
    return store(api, certificate + private_key);
  };
  const references = {
    certificates: [await keep("CN=elliptic", "P-256"), await keep("CN=rsa", "RSA")],
    authority: await store(api, authority.certificate),
    revocations: await store(api, await authority.revoke()),
  };
  const answers = { taken: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(arbitraryHistory(references, VIPS), async ({ vips, steps }) => {
      const { id } = await api.create("loadbalancer", "/loadbalancers", vips);
      const parts = new Parts(api, id);
      let spec: AmphoraSpec | null = null;
      for (const step of steps) {
        const answer = await parts.take(step);
        if (answer === null) continue;
        const taken = answer.status < 300;
        answers[taken ? "taken" : "refused"]++;
        if (taken) spec = await specNow(api, tls, id);
        else if (![400, 409].includes(answer.status)) throw new Error(answer.text);
      }
      if (spec !== null) {
        const { valid, said } = await haproxyCheck(spec);
        if (!valid) throw new Error(said.join("\n"));
      }
      await api.call("DELETE", `/loadbalancers/${id}?cascade=true`);
    }),
    { numRuns: 80 },
  );
  t.ok(answers.taken > 80 && answers.refused > 40, JSON.stringify(answers));
});

/** What an amphora would be given now. @throws {SpecError} */
async function specNow(api: TestApi, tls: Tls, id: string): Promise<AmphoraSpec> {
  const tree = await treeOf(api, id);
  const material = await tls.material(tlsUsesOf(tree), tree.loadBalancer.project_id);
  return parseSpec(specOf(tree, alone(anAmphora(tree.loadBalancer), { tls: material })));
}

async function treeOf({ store }: TestApi, id: string): Promise<Tree> {
  const row = await findRow(store.db, loadBalancer, id);
  if (row === undefined) throw new Error("the load balancer is gone");
  return loadTree(store.db, row);
}

/** The parts of a load balancer that have been made, and how more are made. */
class Parts {
  readonly #api: TestApi;
  readonly #loadBalancer: string;
  readonly #made = new Map<PartKind, { readonly id: string; readonly path: string }[]>();

  constructor(api: TestApi, loadBalancer: string) {
    this.#api = api;
    this.#loadBalancer = loadBalancer;
  }

  /** @returns null: there is nothing yet that it could be done to */
  async take({ kind, which, of, other, values }: Step): Promise<Answer | null> {
    const pool = this.#one("pool", other)?.id;
    const target = pool === undefined ? {} : { [kind === "listener" ? "default_pool_id" : "redirect_pool_id"]: pool };
    const body = kind === "listener" || values.action === "REDIRECT_TO_POOL" ? { ...values, ...target } : values;
    if (which !== null) {
      const part = this.#one(kind, which);
      return part === undefined ? null : this.#api.call("PUT", part.path, { [kind]: body });
    }
    const place = this.#place(kind, of);
    if (place === null) return null;
    const answer = await this.#api.call("POST", place.path, { [kind]: { ...body, ...place.values } });
    if (answer.status !== 201) return answer;
    const id = String(object(answer, kind).id);
    this.#made.set(kind, [...(this.#made.get(kind) ?? []), { id, path: `${place.path}/${id}` }]);
    return answer;
  }

  #place(kind: PartKind, of: number): { path: string; values: Json } | null {
    const home = { loadbalancer_id: this.#loadBalancer };
    const [listener, pool, policy] = [this.#one("listener", of), this.#one("pool", of), this.#one("l7policy", of)];
    switch (kind) {
      case "listener":
        return { path: "/listeners", values: home };
      case "pool":
        return { path: "/pools", values: listener && of % 2 === 0 ? { listener_id: listener.id } : home };
      case "member":
        return pool ? { path: `${pool.path}/members`, values: {} } : null;
      case "healthmonitor":
        return pool ? { path: "/healthmonitors", values: { pool_id: pool.id } } : null;
      case "l7policy":
        return listener ? { path: "/l7policies", values: { listener_id: listener.id } } : null;
      case "rule":
        return policy ? { path: `${policy.path}/rules`, values: {} } : null;
    }
  }

  #one(kind: PartKind, i: number) {
    const all = this.#made.get(kind) ?? [];
    return all[i % Math.max(1, all.length)];
  }
}
