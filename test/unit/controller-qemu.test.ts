/** Machines as data: what they are told, what they are made of. */
import t from "tap";
import { parseBootstrap } from "../../agent/bootstrap/document.ts";
import { managementNetwork } from "../../agent/bootstrap/network.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { checkDrivers } from "../../controller/drivers/drivers.ts";
import { filesOf } from "../../controller/drivers/qemu/config-drive.ts";
import { requireEmulator } from "../../controller/drivers/qemu/emulator.ts";
import { Images } from "../../controller/drivers/qemu/images.ts";
import {
  commandOf,
  freeSlot,
  inSlots,
  type MachineRecord,
  managementMac,
  SLOTS,
  userOf,
} from "../../controller/drivers/qemu/machine.ts";
import { startDetached } from "../../controller/process.ts";
import { checkSettings } from "../../controller/settings.ts";
import { architecture } from "../../images/architectures.ts";
import { idOf } from "../support/specs.ts";

const port = (number: number) => ({
  id: `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`,
  network_id: "00000000-0000-4000-8000-00000000aaaa",
  subnet_id: "00000000-0000-4000-8000-00000000bbbb",
  address: `10.77.0.${number}`,
  prefix_length: 24,
  gateway: "10.77.0.1",
  mac: `fa:16:3e:00:00:${number.toString(16).padStart(2, "0")}`,
  mtu: 1500,
});

const RECORD: MachineRecord = {
  architecture: "x86_64",
  image: "/images/x86_64-1",
  flavor: "601",
  cpus: 1,
  memory: 2048,
  address: "10.76.0.2",
  mac: "02:61:6d:4c:00:02",
  user: 1_900_000_000,
  ports: [{ slot: 3, port: port(9) }],
};
const PLACES = {
  disk: "/a,b/disk",
  configDrive: "/drive",
  console: "/console",
  qmp: "/run/qmp",
  managementTap: "amn0",
  tap: () => "amv0",
};

t.test("an agent can live with what a machine's config drive says", async (t) => {
  const authority = await Authority.make();
  const id = idOf("amphora");
  const files = filesOf({
    amphoraId: id,
    address: "10.76.0.2/16",
    mac: RECORD.mac,
    bootstrap: {
      identity: (await authority.issueAmphora(id, 1)).bundle,
      heartbeatKey: Buffer.alloc(32, 7),
      reporting: { controllers: [{ address: "10.76.0.1", port: 5555 }], heartbeat_interval_ms: 3000 },
    },
  });
  t.equal(parseBootstrap(JSON.stringify(files.user_data)).amphora_id, id);
  const network = managementNetwork(JSON.stringify(files["network_data.json"]));
  t.match(network, /^MACAddress=02:61:6d:4c:00:02$/m);
  t.match(network, /^Address=10\.76\.0\.2\/16$/m);
  t.match(network, /^DHCP=no$/m);
});

t.test("a machine's command", async (t) => {
  const start = { accelerator: "tcg", firmware: null, vhost: false } as const;
  const command = commandOf(RECORD, PLACES, start);
  const after = (word: string) => command[command.indexOf(word) + 1];
  t.equal(command[0], "qemu-system-x86_64");
  t.equal(after("-runas"), "1900000000:1900000000", "it runs as nobody else does");
  t.match(after("-sandbox"), /spawn=deny/);
  t.ok(command.includes("file=/a,,b/disk,if=none,id=disk,format=qcow2,discard=unmap"), "a comma ends no value");
  t.ok(command.includes("virtio-net-pci,id=nic3,netdev=net3,bus=slot3,mac=fa:16:3e:00:00:09,romfile="));
  t.equal(command.filter((word) => word.startsWith("pcie-root-port")).length, SLOTS);
  t.notOk(command.includes("-no-reboot"), "a system that reboots goes on");
});

t.test("each interface has a slot of its own, while there are some", async (t) => {
  const plugged = inSlots(RECORD.ports, [port(9), port(10), port(11)]);
  t.strictSame(
    plugged.map(({ slot, port: { address } }) => [slot, address]),
    [
      [3, "10.77.0.9"],
      [0, "10.77.0.10"],
      [1, "10.77.0.11"],
    ],
  );
  const full = inSlots(
    [],
    Array.from({ length: SLOTS + 1 }, (_, i) => port(i + 1)),
  );
  t.equal(full.length, SLOTS);
  t.equal(freeSlot(full), null);
});

t.test("users and addresses of machines are their own", async (t) => {
  t.equal(userOf("0000", 2n), 0x70000002);
  t.equal(userOf("ffff", 4095n), 0x7fffffff, "the last one still is a user's number");
  t.equal(managementMac(0x0a4c0002n), "02:61:6d:4c:00:02");
});

t.test("what compute qemu needs of the settings", async (t) => {
  const settings = checkSettings({ compute: "qemu" });
  checkDrivers(settings);
  t.match(settings, {
    "management-network": "10.76.0.0/16",
    "heartbeat-listen": "10.76.0.1",
    "boot-limit-s": 240,
  });
  t.equal(checkSettings({ compute: "qemu", "management-network": "10.9.8.0/24" })["heartbeat-listen"], "10.9.8.1");
  t.equal(checkSettings({})["heartbeat-listen"], "127.0.0.1");
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ "management-network": "127.77.0.0/16" }, /^management-network: machines can't be in 127\.77\.0\.0\/16/],
    [{ "management-network": "10.77.0.0/16" }, /^management-network: 10\.77\.0\.0\/16 overlaps with the subnet/],
    [{ "management-network": "10.76.0.0/30" }, /^management-network: 10\.76\.0\.0\/30 has no room for machines/],
    [{ secrets: "noop" }, /^secrets: compute qemu puts certificates on amphorae/],
    [{ network: "noop" }, /^network: compute qemu puts amphorae on this host/],
  ];
  for (const [given, message] of refused) {
    t.throws(() => checkDrivers(checkSettings({ compute: "qemu", ...given })), { message });
  }
  t.throws(() => checkSettings({ qemu: { acceleration: "hvf" } }), { message: /^qemu\.acceleration: / });
});

t.test("another architecture is emulated only when settings allow it", async (t) => {
  const other = process.arch === "x64" ? "aarch64" : "x86_64";
  const images = (given: Record<string, unknown>) => new Images(checkSettings({ qemu: given }).qemu, t.testdirName);
  t.throws(() => images({}).choose(other), { name: "ComputeRefusedError", message: /qemu\.emulate-foreign is false/ });
  t.equal(images({ "emulate-foreign": true }).choose(other).name, other);
  t.not(images({}).choose(null).name, other);
  const missing = images({ images: { x86_64: "/dev/null/x" } });
  await t.rejects(missing.take(images({ "emulate-foreign": true }).choose("x86_64")), { name: "ComputeRefusedError" });
});

t.test("what an architecture's machines need and is not installed is named", async (t) => {
  const arm = architecture("aarch64");
  const missing = { ...arm, qemu: { ...arm.qemu, program: "qemu-system-none" } };
  await t.rejects(requireEmulator(missing), {
    name: "ComputeRefusedError",
    message: "machines for aarch64 need qemu-system-none: install the package qemu-system-arm",
  });
});

t.test("a program that can't be started is said to be so", async (t) => {
  const folder = t.testdir();
  const start = startDetached(`${folder}/its.pid`, `${folder}/its.log`, ["/dev/null/none"]);
  await t.rejects(start, { code: /ENOENT|ENOTDIR/ });
});
