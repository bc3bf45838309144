/** Who may speak to an agent, and for an amphora. */
import { createSocket } from "node:dgram";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";
import { encodeHeartbeat } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { authoritiesOf } from "../support/authorities.ts";
import { Deployment, until } from "../support/deployment.ts";

interface Amphora {
  id: string;
  lb_network_ip: string;
}

t.test("only the controller's certificate opens an agent", async (t) => {
  const deployment = await running(t);
  const [amphora, other] = await amphorae(deployment);
  const folder = await mkdtemp(join(tmpdir(), "amphora-trust-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const ours = await authoritiesOf(t, deployment);
  const foreign = await Authority.make();
  const pem = async (name: string, bundle: { certificate: string; key: string }) => {
    const file = join(folder, `${name}.pem`);
    await writeFile(file, `${bundle.certificate}\n${bundle.key}\n`);
    return file;
  };
  const ca = join(folder, "ca.pem");
  await writeFile(ca, ours.trusted);
  const name = `${amphora.id}.amphora`;
  const curl = (...options: string[]) =>
    execa(
      "curl",
      [
        "-sS",
        "-m",
        "5",
        "--cacert",
        ca,
        "--resolve",
        `${name}:9443:${amphora.lb_network_ip}`,
        ...options,
        `https://${name}:9443/v1/info`,
      ],
      { reject: false },
    );
  const otherIdentity = JSON.parse(
    await readFile(join(deployment.dataDir, "amphorae", other.id, "identity.json"), "utf8"),
  );

  const refused = {
    "no certificate": [] as string[],
    "another authority's": ["--cert", await pem("foreign", (await foreign.issueController()).bundle)],
    "another amphora's": ["--cert", await pem("other", otherIdentity)],
  };
  for (const [whose, options] of Object.entries(refused)) {
    const { exitCode, stdout } = await curl(...options);
    t.not(exitCode, 0, `${whose}: refused`);
    t.equal(stdout, "", `${whose}: nothing is answered`);
  }
  const controller = await pem("controller", (await ours.issueController()).bundle);
  t.match(
    JSON.parse((await curl("--cert", controller)).stdout),
    { amphora_id: amphora.id },
    "the controller is served",
  );
  t.not((await curl("--cert", controller, "--tls-max", "1.2")).exitCode, 0, "TLS 1.2 is refused");
  const tls12 = await execa(
    "openssl",
    ["s_client", "-connect", `${amphora.lb_network_ip}:9443`, "-tls1_2", "-cert", controller, "-key", controller],
    { reject: false, input: "" },
  );
  t.match(tls12.stderr + tls12.stdout, /alert protocol version|no protocols available/i);
});

t.test("forged, replayed and foreign heartbeats are counted and change nothing", async (t) => {
  const deployment = await running(t);
  const [amphora] = await amphorae(deployment);
  const key = await readFile(join(deployment.dataDir, "amphorae", amphora.id, "heartbeat.key"));
  const socket = createSocket("udp4");
  t.teardown(() => socket.close());
  const send = (datagram: Buffer) => socket.send(datagram, 5555, "127.0.0.1");
  const body = { revision: 999, digest: "0123456789abcdef", load: 0 };
  const heartbeat = (sequence: bigint, id = amphora.id) => ({ amphoraId: id, sequence, time: Date.now(), body });
  const counted = async (reason: string) => {
    const text = await (await fetch("http://127.0.0.1:9877/metrics")).text();
    return Number(new RegExp(`^amphora_heartbeats_refused\\{reason="${reason}"\\} (\\d+)`, "m").exec(text)?.[1]);
  };
  const refuses = async (reason: string, datagram: Buffer) => {
    const before = await counted(reason);
    send(datagram);
    await until(`one more is ${reason}`, async () => (await counted(reason)) === before + 1);
  };

  await refuses("malformed", Buffer.from("hello"));
  await refuses("forged", encodeHeartbeat(heartbeat(2n ** 62n), Buffer.alloc(32, 7)));
  await refuses("unknown", encodeHeartbeat(heartbeat(1n, "00000000-0000-4000-8000-000000000000"), key));
  await refuses("replayed", encodeHeartbeat(heartbeat(1n), key));
  await refuses("clock", encodeHeartbeat({ ...heartbeat(2n ** 62n), time: Date.now() - 3_600_000 }, key));
  const { body: after } = await deployment.call("GET", "/v2.0/lbaas/loadbalancers");
  t.match(after.loadbalancers, [{ provisioning_status: "ACTIVE", operating_status: "ONLINE" }, {}]);
});

/** A deployment with two load balancers, without parts. */
async function running(t: Test): Promise<Deployment> {
  const deployment = await Deployment.make(t);
  await deployment.start();
  for (const name of ["one", "two"]) {
    const { id } = await deployment.create("loadbalancer", "/loadbalancers", { name });
    await deployment.becomes("loadbalancer", `/loadbalancers/${id}`, {
      provisioning_status: "ACTIVE",
      operating_status: "ONLINE",
    });
  }
  return deployment;
}

async function amphorae(deployment: Deployment): Promise<[Amphora, Amphora]> {
  const { body } = await deployment.call("GET", "/v2.0/octavia/amphorae");
  return body.amphorae as unknown as [Amphora, Amphora];
}
