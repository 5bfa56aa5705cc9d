/** Server and the key that it accepts. */
export interface Credentials {
  /** Base URL of the API; ends in /v1. */
  readonly url: string;
  readonly apiKey: string;
}
