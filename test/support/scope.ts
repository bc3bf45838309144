/** What ends, and cleans up when it does: a tap test, or a benchmark. */
export interface Scope {
  teardown(cleanup: () => unknown): unknown;
}
