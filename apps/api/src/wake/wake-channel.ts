/** How API processes of one installation reach each other with a few words. What is said to nobody is lost. */
export interface WakeChannel {
  /** Listens; `up` is called then, and whenever it listens again after a lost connection. */
  open(heard: (message: string) => void, up: () => void): Promise<void>;
  /** Rejects where the connection is lost. */
  publish(messages: readonly string[]): Promise<void>;
  /** Whether its connections stand. */
  readonly alive: boolean;
  close(): Promise<void>;
}
