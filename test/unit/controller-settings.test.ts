import { readFile, writeFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import t from "tap";
import YAML from "yaml";
import { exampleSettings } from "../../controller/command-line.ts";
import { checkSettings, DEFAULT_SUBNET_ID, SETTINGS, SettingsError } from "../../controller/settings.ts";

const EXAMPLE = join(import.meta.dirname, "../../controller/settings.example.yaml");
const NAMES = Object.keys(SETTINGS);

/** Values that a setting can't have, where a wrong type is not all that can be wrong. */
const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  port: [0, 65_536, 1.5, "9876"],
  listen: ["", "localhost", "127.0.0.1:80", "fe80::1%eth0"],
  "data-dir": ["", "x".repeat(256)],
  "admin-token": ["a b", "ä", "a\n", "x".repeat(513)],
  "admin-project": ["", "a b", "x".repeat(65)],
  "tokens-file": ["x".repeat(256), 1],
  identity: ["none", "Keystone", ""],
  keystone: [
    "https://keystone.example.org/v3",
    { "auth-url": "keystone.example.org" },
    { "auth-url": "ftp://keystone.example.org" },
    { "auth-url": "https://user:password@keystone.example.org" },
    { "auth-url": "https://keystone.example.org/v3?a=b" },
    { "auth-url": "https://keystone.example.org/v3#a" },
    { username: "" },
    { password: "secret" },
    { "cache-s": -1 },
    { "cache-s": 3601 },
  ],
  demo: ["yes", 1],
  subnet: ["", "10.77.0.0", "10.77.0.1/24", "10.77.0.0/33", "2001:db8::1/64", "10.77.0.0/24/24"],
  subnets: ["10.77.0.0/24", [{ id: "x", cidr: "10.0.0.0/24" }]],
  "default-subnet": ["x", "5B1F6A2E-7D34-4C0B-9A51-0E77A4C5D001"],
  database: ["", "x".repeat(256)],
  quotas: [{ listener: -2 }, { listener: "5" }, { listeners: 5 }, 5],
  "compute-flavors": ["601", [{ name: "601" }], [{ name: "", cpus: 1, "memory-mib": 1 }]],
  "default-flavor": ["x", "5B1F6A2E-7D34-4C0B-9A51-0E77A4C5D001"],
  qemu: [{ acceleration: "hvf" }, { images: { riscv64: "" } }, { "emulate-foreign": 1 }, 1],
  "default-availability-zone": ["x".repeat(256), 1],
  compute: ["openstack", ""],
  network: ["openstack", ""],
  "compute-dir": ["x".repeat(256), 1],
  secrets: ["barbican", ""],
  "secrets-key-file": ["x".repeat(256), 1],
  haproxy: ["", "x".repeat(256)],
  "management-network": ["127.77.0.1/16", "x"],
  role: ["", "admin", "api,", "api reconciler", 1],
  "heartbeat-address": ["localhost", "10.0.0.1:5555", 1],
  "heartbeat-listen": ["", "localhost"],
  "heartbeat-port": [0, 65_536],
  "heartbeat-interval-ms": [0, 99, 60_001, 1.5],
  "silence-limit-ms": [0, 299, 3_600_001],
  "failover-hold-count": [0, 1.5],
  "failover-hold-share": [-0.1, 1.1, "half"],
  "failover-concurrency": [0, 1001],
  "metrics-listen": ["", "localhost"],
  "metrics-port": [-1, 65_536],
  "settle-wait-ms": [-1, 60_001],
  "pending-limit-s": [0, 86_401],
  "boot-limit-s": [0, 3601],
  "certificate-days": [0, 3651],
  "vrrp-advert-ms": [0, 5, 201, 40_960],
  "replica-forwarding": ["direct", ""],
  concurrency: [0, 1001],
  "log-level": ["loud", "INFO", ""],
};

/** What may be given without any of its parts. */
const EACH_HAS_A_DEFAULT = ["quotas", "keystone", "qemu"];

t.test("without any setting, everything has its default", async (t) => {
  const settings = checkSettings({});
  for (const [name, { default: byDefault }] of Object.entries(SETTINGS)) {
    if (name !== "data-dir") t.strictSame(Object.entries(settings).find(([key]) => key === name)?.[1], byDefault, name);
  }
  t.ok(isAbsolute(settings["data-dir"]), "wherever the program goes later");
  const { "data-dir": _, ...rest } = settings;
  t.match(checkSettings(settings), rest, "defaults are values like others");
});

t.test("a value that a setting can't have is told with the setting's name", async (t) => {
  for (const name of NAMES) {
    t.ok(WRONG[name], `there are wrong values for ${name}`);
    for (const value of [...(WRONG[name] ?? []), null, ...(EACH_HAS_A_DEFAULT.includes(name) ? [] : [{}]), [[]]]) {
      const message = problem({ [name]: value });
      t.ok(message.startsWith(`${name}:`) || message.startsWith(`${name}.`), `${JSON.stringify(value)}: ${message}`);
    }
  }
});

t.test("a fault within a subnet is told with its place", async (t) => {
  const subnet = { id: DEFAULT_SUBNET_ID, cidr: "10.0.0.0/24" };
  t.strictSame(checkSettings({ subnets: [subnet] }).subnets, [{ ...subnet, mtu: 1500 }]);
  const cases: Record<string, object> = {
    "subnets.0.cidr: must be a network": { ...subnet, cidr: "10.0.0.1/24" },
    "subnets.0.mtu: ": { ...subnet, mtu: 10 },
    "subnets.0.gateway: ": { ...subnet, gateway: "x" },
    "subnets.0.id: ": { cidr: subnet.cidr },
    "subnets.0: .*nonsense": { ...subnet, nonsense: 1 },
  };
  for (const [message, wrong] of Object.entries(cases)) {
    t.match(problem({ subnets: [wrong] }), new RegExp(`^${message}`));
  }
});

t.test("every problem is told at once", async (t) => {
  const message = problem({ port: 0, nonsense: 1, "log-level": "loud", __proto__: null, constructor: 1 });
  for (const part of ["port: ", "nonsense: there is no such setting", "log-level: ", "constructor: there is no such"]) {
    t.ok(message.includes(part), message);
  }
});

t.test("the example file is what the settings say of themselves", async (t) => {
  if (process.env.UPDATE_EXAMPLES === "1") await writeFile(EXAMPLE, exampleSettings());
  t.equal(await readFile(EXAMPLE, "utf8"), exampleSettings());
});

t.test("the example file changes nothing, and shows every setting as it can be written", async (t) => {
  const text = await readFile(EXAMPLE, "utf8");
  t.equal(YAML.parse(text), null);
  // text has a space behind the mark, and a setting has none, or more
  const written: unknown = YAML.parse(text.replace(/^#(?! \S)/gm, ""));
  const given: Record<string, unknown> = typeof written === "object" ? { ...written } : {};
  t.strictSame(Object.keys(given), NAMES);
  const { subnets, ...rest } = checkSettings(given);
  t.equal(subnets.length, 1);
  t.match(checkSettings({}), rest, "each with its default");
});

function problem(given: Record<string, unknown>): string {
  try {
    checkSettings(given);
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  return `no problem with ${JSON.stringify(given)}`;
}
