/** A build that can't be done, for a reason that the person who asked for it can understand: one line. */
export class BuildError extends Error {
  override readonly name = "BuildError";
}
