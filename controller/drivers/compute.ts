/** What the controller needs of a compute service. */
import type { CertificateBundle, Reporting } from "../../agent/protocol.ts";
import type { Port } from "./network.ts";

/** What an agent must be given before it can be spoken to. */
export interface Bootstrap {
  readonly identity: CertificateBundle;
  readonly heartbeatKey: Buffer;
  /** where heartbeats go */
  readonly reporting: Reporting;
}

export interface Instance {
  readonly compute_id: string;
  readonly lb_network_ip: string;
  readonly cached_zone: string;
  readonly image_id: string | null;
  readonly compute_flavor: string | null;
  /** whether it had to be started: until its agent answers, an instance boots */
  readonly boots: boolean;
}

/** There is no such instance to be had, whoever asks how often; the message says why. */
export class ComputeRefusedError extends Error {
  override readonly name = "ComputeRefusedError";
}

/** What an instance is to be like; null: as the driver has it by default. */
export interface InstanceWish {
  readonly loadBalancerId: string;
  readonly computeFlavor: string | null;
  readonly volumeType: string | null;
  readonly computeZone: string | null;
  readonly cpuArch: "x86_64" | "aarch64" | null;
  /** amphorae of the same load balancer: on other hosts, where the service can */
  readonly apartFrom: readonly string[];
  /** interfaces that it may have from the start; each is plugged all the same */
  readonly ports: readonly Port[];
}

/** Instances are known by the id of their amphora, so that every call can be made again after a crash. */
export interface ComputeDriver {
  /**
   * Makes an amphora's instance and starts it, or finds the one that an earlier call made.
   * @throws {ComputeRefusedError}
   */
  create(amphoraId: string, wish: InstanceWish, bootstrap: () => Promise<Bootstrap>): Promise<Instance>;
  /** Gives the instance an interface on the port's subnet. Nothing happens when it has it. */
  plug(amphoraId: string, port: Port): Promise<void>;
  /** Takes the interface of the port away again, also what is left of it without the instance. Nothing happens when there is none. */
  unplug(amphoraId: string, port: Port): Promise<void>;
  /** Ends and removes the instance, with its interfaces. Nothing happens when there is none. */
  remove(amphoraId: string): Promise<void>;
  /** The amphora ids of all instances that this deployment has. */
  list(): Promise<string[]>;
  /** The amphora ids of those that run. */
  running(): Promise<string[]>;
}

/** One whose instances are on the controller's own host. */
export interface HostCompute extends ComputeDriver {
  /** Finds out whether instances can be made at all, and makes what the controller needs to speak with them. */
  prepare(): Promise<void>;
  /** Whether `prepare` found nothing of another controller of this deployment on the host, and had to make it. */
  readonly made: boolean;
  /** Begins to watch over the instances that there are, whoever started them. */
  start(): Promise<void>;
  /** Stops watching. Instances and traffic go on. */
  stop(): Promise<void>;
  /** Ends every instance, and removes what is theirs from the host; what is on disk stays. */
  shutDown(): Promise<void>;
}
