/**
 * Channel for short messages between the API processes of an installation. A message is lost if no process is
 * subscribed.
 */
export interface WakeChannel {
  /** Subscribes. `up` is called when it is subscribed, and again after each reconnect. */
  open(received: (message: string) => void, up: () => void): Promise<void>;
  /** Rejects if the connection is lost. */
  publish(messages: readonly string[]): Promise<void>;
  /** Whether the channel is connected and subscribed. */
  readonly alive: boolean;
  close(): Promise<void>;
}
