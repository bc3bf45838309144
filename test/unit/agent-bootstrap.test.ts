/** What an instance is told on its first boot: as Nova lays it out, checked before anything is written. */
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import t, { type Test } from "tap";
import { bootstrapCommand } from "../../agent/bootstrap/command.ts";
import { type BootstrapDocument, MAX_BOOTSTRAP_BYTES, parseBootstrap } from "../../agent/bootstrap/document.ts";
import { managementNetwork } from "../../agent/bootstrap/network.ts";
import { readSettings } from "../../agent/settings.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { idOf } from "../support/specs.ts";

const ID = idOf("amphora");

async function document(): Promise<BootstrapDocument> {
  const authority = await Authority.make();
  return {
    amphora_id: ID,
    controllers: [{ address: "192.0.2.1", port: 5555 }],
    heartbeat_interval_ms: 3000,
    heartbeat_key: Buffer.alloc(32, 7).toString("base64"),
    time_servers: [],
    identity: (await authority.issueAmphora(ID, 1)).bundle,
  };
}

/** A config drive's files. */
async function drive(t: Test, files: Record<string, string>): Promise<string> {
  const folder = join(t.testdir(), "drive");
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, "openstack", path)), { recursive: true });
    await writeFile(join(folder, "openstack", path), content);
  }
  return folder;
}

async function bootstrap(t: Test, files: Record<string, string>) {
  const from = await drive(t, files);
  const out = join(t.testdirName, "out");
  const options = {
    config: join(out, "etc/agent.json"),
    state: join(out, "state"),
    from,
    network: join(out, "network"),
  };
  const said: string[] = [];
  await bootstrapCommand(options, (line) => said.push(line));
  return { ...options, said };
}

t.test("user data makes an instance an amphora, whose secrets are for root alone", async (t) => {
  const told = await document();
  const { config, state, said } = await bootstrap(t, { "latest/user_data": JSON.stringify(told) });
  t.strictSame(said, [`this is amphora ${ID}`]);
  t.match(await readSettings(config), {
    amphora_id: ID,
    listen: { address: "0.0.0.0", port: 9443 },
    controllers: told.controllers,
    heartbeat_key_file: `${state}/heartbeat.key`,
    identity_file: `${state}/identity.json`,
    config_dir: "/etc/amphora",
  });
  t.strictSame(JSON.parse(await readFile(`${state}/identity.json`, "utf8")), told.identity);
  t.strictSame(await readFile(`${state}/heartbeat.key`), Buffer.alloc(32, 7));
  for (const file of [config, `${state}/identity.json`, `${state}/heartbeat.key`]) {
    t.equal((await stat(file)).mode & 0o777, 0o600, file);
  }
});

t.test("a file that Nova injects comes before user data", async (t) => {
  const told = await document();
  const files = [
    { path: "/etc/other", content_path: "/content/0000" },
    { path: "/etc/amphora/bootstrap.json", content_path: "/content/0001" },
  ];
  const { said } = await bootstrap(t, {
    "latest/meta_data.json": JSON.stringify({ uuid: "83679162-1378-4288-a2d4-70e13ec132aa", name: "amphora", files }),
    "latest/user_data": "#cloud-config\n",
    "content/0000": "",
    "content/0001": JSON.stringify(told),
  });
  t.strictSame(said, [`this is amphora ${ID}`]);
});

t.test("time servers are for systemd-networkd to name, beside those of DHCP", async (t) => {
  const told = { ...(await document()), time_servers: ["192.0.2.123", "2001:db8::123"] };
  const { network } = await bootstrap(t, { "latest/user_data": JSON.stringify(told) });
  const text = await readFile(join(network, "10-management.network.d/time.conf"), "utf8");
  t.equal(text, "[Network]\nNTP=192.0.2.123\nNTP=2001:db8::123\n");
});

t.test("over IPv6 alone the agent serves every IPv6 address", async (t) => {
  const told = { ...(await document()), controllers: [{ address: "2001:db8::1" }] };
  const { config } = await bootstrap(t, { "latest/user_data": JSON.stringify(told) });
  t.match((await readSettings(config)).listen, { address: "::", port: 9443 });
});

t.test("what can't be used is refused with the file and the field, and nothing is written", async (t) => {
  const good = await document();
  const other = await Authority.make();
  const text = JSON.stringify(good);
  const user = (changes: object) => ({ "latest/user_data": JSON.stringify({ ...good, ...changes }) });
  const faults: Record<string, [files: Record<string, string>, message: RegExp]> = {
    "an empty drive": [
      { "latest/network_data.json": "{}" },
      /has neither a file \/etc\/amphora\/bootstrap\.json nor user data/,
    ],
    "a truncated document": [{ "latest/user_data": text.slice(0, -20) }, /latest\/user_data: is not JSON/],
    "no key": [user({ heartbeat_key: undefined }), /latest\/user_data: heartbeat_key: /],
    "a short key": [user({ heartbeat_key: "YWJj" }), /heartbeat_key: must be 32 bytes or more, in base64/],
    "a field too many": [user({ password: "x" }), /Unrecognized key: "password"/],
    "no controllers": [user({ controllers: [] }), /controllers: /],
    "both families": [
      user({ listen: { address: "192.0.2.9" }, controllers: [{ address: "2001:db8::1" }] }),
      /controllers\.0\.address: .*both must be IPv4, or both IPv6/,
    ],
    "another authority's certificate": [
      user({ identity: { ...(await other.issueAmphora(ID, 1)).bundle, ca: good.identity.ca } }),
      /identity\.certificate: is not signed by ca/,
    ],
    "another amphora's certificate": [user({ amphora_id: idOf("amphora", 2) }), /identity\.certificate: does not name/],
    "a key that does not fit": [
      user({ identity: { ...good.identity, key: (await other.issueAmphora(ID, 1)).bundle.key } }),
      /identity\.key: is not the key of the certificate/,
    ],
    "a file that is not there": [
      {
        "latest/meta_data.json":
          '{"files": [{"path": "/etc/amphora/bootstrap.json", "content_path": "/content/0000"}]}',
      },
      /there is no \/content\/0000/,
    ],
    "a file outside": [
      { "latest/meta_data.json": '{"files": [{"path": "/etc/amphora/bootstrap.json", "content_path": "/../../x"}]}' },
      /outside of the drive/,
    ],
    "network data that are none": [
      { "latest/user_data": text, "latest/network_data.json": '{"links": [{"id": "a", "ethernet_mac_address": "x"}]}' },
      /network_data\.json: links\.0\.ethernet_mac_address: must be a MAC address/,
    ],
    "more than Nova could carry": [
      { "latest/user_data": " ".repeat(MAX_BOOTSTRAP_BYTES + 1) },
      /has more than 65536 bytes/,
    ],
  };
  for (const [name, [files, message]] of Object.entries(faults)) {
    await t.test(name, async (t) => {
      await t.rejects(bootstrap(t, files), { name: "BootstrapError", message });
      t.strictSame(await readdir(join(t.testdirName, "out")).catch(() => []), []);
    });
  }
});

t.test("no text makes the parser throw past its own error", async (t) => {
  const good = JSON.stringify(await document());
  const damaged = fc.tuple(fc.nat(good.length), fc.nat(good.length), fc.string()).map(([from, to, text]) => {
    return good.slice(0, Math.min(from, to)) + text + good.slice(Math.max(from, to));
  });
  const property = fc.property(fc.oneof(damaged, fc.string(), fc.json()), (text) => {
    try {
      parseBootstrap(text);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "BootstrapError") throw error;
    }
  });
  fc.assert(property, { numRuns: 300 });
  t.pass("and none did");
});

t.test("the management interface is the first, by DHCP or as Nova fixed it", async (t) => {
  const links = [
    { id: "tap1", ethernet_mac_address: "FA:16:3E:00:00:01", mtu: 1450, type: "ovs", vif_id: "x" },
    { id: "tap2", ethernet_mac_address: "fa:16:3e:00:00:02", mtu: null, type: "ovs", vif_id: "y" },
  ];
  const dhcp = {
    links,
    networks: [{ id: "network0", link: "tap1", type: "ipv4_dhcp", network_id: "n" }],
    services: [],
  };
  t.equal(
    managementNetwork(JSON.stringify(dhcp)),
    "[Match]\nMACAddress=fa:16:3e:00:00:01\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n\n[Link]\nMTUBytes=1450\n",
  );
  const fixed = {
    links,
    networks: [
      {
        id: "network0",
        link: "tap1",
        type: "ipv4",
        ip_address: "192.0.2.20",
        netmask: "255.255.255.0",
        routes: [{ network: "0.0.0.0", netmask: "0.0.0.0", gateway: "192.0.2.1" }],
      },
      { id: "network1", link: "tap1", type: "ipv6", ip_address: "2001:db8::20/64", routes: [] },
      { id: "network2", link: "tap2", type: "ipv4", ip_address: "198.51.100.20", netmask: "255.255.255.0" },
    ],
    services: [{ type: "dns", address: "192.0.2.53" }],
  };
  t.equal(
    managementNetwork(JSON.stringify(fixed)),
    [
      ...["[Match]", "MACAddress=fa:16:3e:00:00:01", "", "[Network]", "DHCP=no", "IPv6AcceptRA=no"],
      ...["LinkLocalAddressing=ipv6", "DNS=192.0.2.53", "Address=192.0.2.20/24", "Address=2001:db8::20/64", ""],
      ...["[Link]", "MTUBytes=1450", "", "[Route]", "Destination=0.0.0.0/0", "Gateway=192.0.2.1", ""],
    ].join("\n"),
  );
  t.equal(managementNetwork('{"links": []}'), null);
  for (const ip_address of ["192.0.2.20\n[Route]", "192.0.2.20/33 x", "", "x"]) {
    const hostile = { links, networks: [{ link: "tap1", type: "ipv4", ip_address, netmask: "255.255.255.0" }] };
    t.throws(() => managementNetwork(JSON.stringify(hostile)), { name: "BootstrapError", message: /ip_address/ });
  }
});
