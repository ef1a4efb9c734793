/** Answers that are made once for all who ask at the same time. */

/**
 * Who asks while an answer is made gets the next one, together with all others who do: no answer is older than its question,
 * and no more than one of a name is made at a time.
 */
export class Shared<T> {
  #now = new Map<string, Promise<void>>();
  #next = new Map<string, Promise<T>>();

  constructor(private readonly ask: (name: string) => Promise<T>) {}

  get(name: string): Promise<T> {
    const next = this.#next.get(name);
    if (next) return next;
    const now = this.#now.get(name);
    if (!now) return this.#begin(name);
    const mine = now.then(() => {
      this.#next.delete(name);
      return this.#begin(name);
    });
    this.#next.set(name, mine);
    return mine;
  }

  #begin(name: string): Promise<T> {
    const answer = this.ask(name);
    const over = (): void => void this.#now.delete(name);
    this.#now.set(name, answer.then(over, over));
    return answer;
  }
}
