/** The drivers that settings choose. */
import { join } from "node:path";
import type { Logger } from "pino";
import { CertificateReader } from "../certificates/reader.ts";
import { Tls } from "../certificates/tls.ts";
import { hasRole, ROLES } from "../roles.ts";
import { openVault } from "../secrets/key.ts";
import type { KeyManager } from "../secrets/key-manager.ts";
import { DEFAULT_SUBNET_ID, type Settings, SettingsError } from "../settings.ts";
import type { Store } from "../store/database.ts";
import type { ComputeDriver, HostCompute } from "./compute.ts";
import { overlap, rangeOf } from "./local/addresses.ts";
import { LocalCompute } from "./local/compute.ts";
import { LocalNetwork } from "./local/network.ts";
import { LocalSecrets } from "./local/secrets.ts";
import { declareSubnet, Subnets } from "./local/subnets.ts";
import type { NetworkDriver } from "./network.ts";
import { NoopNetwork } from "./noop/network.ts";
import { QemuCompute } from "./qemu/compute.ts";

/** Everything on the controller's own host. */
export interface Host {
  readonly network: LocalNetwork;
  readonly compute: HostCompute;
}

export interface Drivers {
  readonly network: NetworkDriver;
  /** null: nothing is driven, every change is acknowledged at once */
  readonly compute: ComputeDriver | null;
  /** null: nothing is made on this host */
  readonly host: Host | null;
}

export interface Place {
  /** four hexadecimal digits that tell this deployment's links and namespaces on a host from others' */
  readonly deployment: string;
  readonly computeDir: string;
  readonly runDir: string;
  readonly log: Logger;
}

/** @throws {SettingsError} for drivers that do not go with each other, or with what the controller is to do */
export function checkDrivers(settings: Settings): void {
  const { compute, network, secrets } = settings;
  checkRoles(settings);
  if (compute === "noop") return;
  if (secrets !== "local") {
    throw new SettingsError(`secrets: compute ${compute} puts certificates on amphorae, which needs secrets local`);
  }
  if (network !== "local") {
    throw new SettingsError(`network: compute ${compute} puts amphorae on this host, which needs network local`);
  }
  if (compute === "qemu") checkManagement(settings);
}

/** Machines have an address of their own in the management network, and the host another: none of them can be a tenant's. */
function checkManagement(settings: Settings): void {
  const network = rangeOf(settings["management-network"]);
  const text = settings["management-network"];
  if (overlap(network, rangeOf("127.0.0.0/8"))) {
    throw new SettingsError(`management-network: machines can't be in ${text}, which is the host's loopback network`);
  }
  if (network.last - network.first < 7n) {
    throw new SettingsError(`management-network: ${text} has no room for machines`);
  }
  const subnet = subnetsOf(settings).find(({ cidr }) => overlap(network, rangeOf(cidr)));
  if (subnet === undefined) return;
  throw new SettingsError(`management-network: ${text} overlaps with the subnet ${subnet.cidr}`);
}

function checkRoles(settings: Settings): void {
  const isWhole = ROLES.every((role) => hasRole(settings, role));
  if (!isWhole && settings.database === "sqlite") {
    throw new SettingsError("role: with SQLite there is one controller, which has all roles; several need PostgreSQL");
  }
  const address = settings["heartbeat-address"] || settings["heartbeat-listen"];
  if (settings.compute !== "noop" && hasRole(settings, "health") && isUnspecified(address)) {
    throw new SettingsError(`heartbeat-address: amphorae can't send to ${address}: name the address of this host`);
  }
}

function isUnspecified(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** Whether anything is made on this host, for which the controller must be root. */
export function needsRoot(settings: Settings): boolean {
  return settings.compute !== "noop" && hasRole(settings, "reconciler");
}

/** Nothing is started yet. */
export function openDrivers(settings: Settings, subnets: Subnets, place: Place): Drivers {
  const managementNetwork = settings["management-network"];
  const local = () => new LocalNetwork({ subnets, managementNetwork, ...place });
  if (settings.compute === "noop") {
    return { network: settings.network === "noop" ? new NoopNetwork() : local(), compute: null, host: null };
  }
  const network = local();
  const compute =
    settings.compute === "local"
      ? new LocalCompute({ network, managementNetwork, ...place })
      : new QemuCompute({
          network,
          managementNetwork,
          heartbeatPort: settings["heartbeat-port"],
          settings: settings.qemu,
          computeFlavors: settings["compute-flavors"],
          ...place,
        });
  return { network, compute, host: { network, compute } };
}

/** @returns null: every reference is taken for one of something that fits @throws {SettingsError} for a wrong key */
export async function openKeyManager(settings: Settings, store: Store): Promise<KeyManager | null> {
  if (settings.secrets === "noop") return null;
  const vault = await openVault(store, settings["secrets-key-file"] || join(settings["data-dir"], "secrets.key"));
  return { vault, tls: new Tls(new LocalSecrets(store, vault), new CertificateReader()) };
}

/** @throws {SettingsError} @throws {SubnetError} */
export function declareSubnets(settings: Settings): Subnets {
  const isOne = settings.subnets.length === 0;
  const all = subnetsOf(settings).map((each, i) =>
    declareSubnet(each, (part) => (isOne ? "subnet" : `subnets.${i}.${part}`)),
  );
  const chosen = settings["default-subnet"] || all[0]?.id;
  if (all.every((subnet) => subnet.id !== chosen)) {
    throw new SettingsError(`default-subnet: ${chosen} is not among the subnets`);
  }
  return new Subnets(all, chosen ?? null);
}

function subnetsOf(settings: Settings): Settings["subnets"] {
  return settings.subnets.length > 0 ? settings.subnets : [{ id: DEFAULT_SUBNET_ID, cidr: settings.subnet, mtu: 1500 }];
}
