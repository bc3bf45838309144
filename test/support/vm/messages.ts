/** What a test machine and its host say to each other: a JSON document per line, over a virtio-serial port. */

/** The port's name: init.sh looks for it. */
export const PORT_NAME = "amphora.report";

/** From the machine. */
export type Report =
  /** the scenario begins; seconds since the kernel started */
  | { readonly kind: "start"; readonly uptime: number }
  | {
      readonly kind: "check";
      readonly name: string;
      readonly ok: boolean;
      readonly detail: string;
      readonly ms: number;
    }
  /** for the person who reads the test's output */
  | { readonly kind: "note"; readonly text: string }
  /** for the test on the host */
  | { readonly kind: "word"; readonly word: string }
  /** the scenario came to its end, or threw */
  | { readonly kind: "end"; readonly failure: string | null };

/** To the machine: a word that a scenario waits for. */
export interface Order {
  readonly word: string;
}

/** Where the machine finds what it is to do. */
export const TASK_FILE = "amphora/.task.json";
export interface Task {
  /** path in the project */
  readonly scenario: string;
  readonly args: Readonly<Record<string, string>>;
}
