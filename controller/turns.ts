/** Work of many projects, done one piece at a time: each project has its turn, however much another one has asked for. */

export class Turns {
  /** project -> what it waits for; the one whose turn is next comes first */
  readonly #waiting = new Map<string, (() => Promise<void>)[]>();
  #working = false;

  /** Does it when it is the project's turn. @throws what the work throws */
  take<T>(project: string, work: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    const waiting = this.#waiting.get(project) ?? [];
    this.#waiting.set(project, waiting);
    waiting.push(async () => {
      const done = work();
      resolve(done);
      await done.catch(() => undefined);
    });
    if (!this.#working) void this.#work();
    return promise;
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      const [project, waiting] = next;
      const work = waiting.shift();
      // behind the others, if it has more
      this.#waiting.delete(project);
      if (waiting.length > 0) this.#waiting.set(project, waiting);
      await work?.();
    }
    this.#working = false;
  }
}
