/** What ends, and cleans up when it does: a tap test, or a benchmark. */
export interface Scope {
  teardown(cleanup: () => unknown): unknown;
}

/** Does something within a scope of its own, outside any test: cleaned up when it has ended, however it has. */
export async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const cleanups: (() => unknown)[] = [];
  try {
    return await work({ teardown: (cleanup) => cleanups.unshift(cleanup) });
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}
