/**
 * What a daemon of the data plane does for a spec to be applied. The applier knows no daemon by name: it has each
 * prepare, writes the files, has each bring them into force, and has all of them back out when one of them can't.
 */
import type { RenderedFiles } from "../../templates/render.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import type { ApplyWay } from "../protocol.ts";

/** A spec, and the files that it renders to. */
export interface Rendered {
  readonly spec: AmphoraSpec;
  readonly files: RenderedFiles;
}

export interface Change {
  /** what this process has applied last, null when it has not yet: what the daemon serves is then unknown */
  readonly running: Rendered | null;
  readonly next: Rendered;
  /** what stands on disk now, at the paths of `next` and `running`; a file that is missing there is missing here */
  readonly inPlace: RenderedFiles;
  /** whether the next spec is what was applied last before a restart: the controller may want another one by now */
  readonly resumed: boolean;
}

export interface Daemon {
  /**
   * Decides how the next spec reaches the daemon, and finds out whether the daemon would take it. Changes nothing.
   * @throws {SpecError} it would not
   */
  prepare(change: Change): Promise<Prepared>;

  /** Starts the daemon again, on the files in place, if it should run and does not. */
  revive(running: Rendered): Promise<void>;
}

/** One daemon's part of a change. */
export interface Prepared {
  /**
   * Brings the next files, which stand on disk by now, into force.
   * @throws {SpecError} the daemon refuses them after all; it goes on as before, or `backOut` puts it right
   */
  bring(): Promise<ApplyWay>;

  /** Makes the daemon serve what it served before, if it does not. The files of then stand on disk again. */
  backOut(): Promise<void>;
}

/** Whether two sets hold the same files below some folders, such as `haproxy/`. */
export function sameFiles(a: RenderedFiles, b: RenderedFiles, ...folders: readonly string[]): boolean {
  const own = (files: RenderedFiles) => [...files].filter(([path]) => folders.some((each) => path.startsWith(each)));
  const [first, second] = [own(a), own(b)];
  return first.length === second.length && first.every(([path, file]) => b.get(path)?.content === file.content);
}
