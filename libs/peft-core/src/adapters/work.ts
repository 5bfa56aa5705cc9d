/** Work in steps, between which others can run. It yields the share that is done, 0 to 1. */
export type Work<T> = Generator<number, T, undefined>;
