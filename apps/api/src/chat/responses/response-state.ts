// A response that is being generated: turns the chunks of its answer into OpenAI's typed events.
import type {
  DomainError,
  GenerateAnswer,
  ResponseObject,
  ResponseOutputItem,
  ResponseStreamEvent,
  TokenLogprob,
  ToolCall,
} from '@graft/contracts';
import { newId } from '../../ids.js';
import { responseLogprobs } from '../logprobs.js';
import type { ParsedResponse } from './response-body.js';

/** A response that has ended, and its last events. */
export interface EndedResponse {
  readonly response: ResponseObject;
  readonly events: readonly ResponseStreamEvent[];
}

type Message = Extract<ResponseOutputItem, { type: 'message' }>;
type Text = Message['content'][number];

/** Each member of a union without its sequence number. */
type Unnumbered<T> = T extends unknown ? Omit<T, 'sequence_number'> : never;

/** A response and its events. Every event carries the state at its time. */
export class ResponseState {
  private sequence = 0;
  private readonly items: ResponseOutputItem[] = [];
  private readonly head: ResponseObject;
  private message: (Message & { readonly content: [Text] }) | null = null;
  private last: GenerateAnswer | null = null;

  constructor(head: ResponseObject) {
    this.head = { ...head, status: 'in_progress' };
  }

  /** Returns the first events. */
  start(): readonly ResponseStreamEvent[] {
    const events: ResponseStreamEvent[] = [];
    if (this.head.background) {
      const response: ResponseObject = { ...this.head, status: 'queued' };
      events.push(
        this.event({ type: 'response.created', response }),
        this.event({ type: 'response.queued', response }),
      );
    } else events.push(this.event({ type: 'response.created', response: this.head }));
    return [...events, this.event({ type: 'response.in_progress', response: this.head })];
  }

  /** Adds a piece of the answer. */
  add(piece: GenerateAnswer): readonly ResponseStreamEvent[] {
    this.last = piece;
    const events: ResponseStreamEvent[] = [];
    const tokens = piece.logprobs ?? [];
    if (piece.text !== '' || tokens.length > 0) events.push(...this.addText(piece.text, tokens));
    for (const call of piece.tool_calls ?? []) events.push(...this.addCall(call));
    return events;
  }

  /** Completes the response. Its object is in the last event. */
  end(): EndedResponse {
    const isCut = this.last?.finish_reason === 'length';
    const events: ResponseStreamEvent[] = [];
    if (!this.message && this.items.length === 0) events.push(...this.addText('', []));
    events.push(...this.closeMessage(isCut ? 'incomplete' : 'completed'));
    const response: ResponseObject = {
      ...this.head,
      status: isCut ? 'incomplete' : 'completed',
      completed_at: isCut ? null : now(),
      incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
      output: this.items,
      usage: this.usage(),
    };
    const type = isCut ? 'response.incomplete' : 'response.completed';
    events.push(this.event({ type, response }));
    return { response, events };
  }

  /** Ends an interrupted response. */
  fail(error: DomainError): EndedResponse {
    const { code, message, param } = error.body().error;
    const told = this.event({ type: 'error', code, message, param });
    if (this.message) this.items.push({ ...this.message, status: 'incomplete' });
    const response: ResponseObject = {
      ...this.head,
      status: 'failed',
      error: { code: 'server_error', message },
      output: this.items,
      usage: this.last && this.usage(),
    };
    return { response, events: [told, this.event({ type: 'response.failed', response })] };
  }

  private addText(delta: string, tokens: readonly TokenLogprob[]): ResponseStreamEvent[] {
    const events: ResponseStreamEvent[] = [];
    if (!this.message) {
      this.message = newMessage();
      const part = this.message.content[0];
      const item: Message = { ...this.message, content: [] };
      events.push(
        this.event({ type: 'response.output_item.added', ...this.place, item }),
        this.event({ type: 'response.content_part.added', ...this.placeOf(this.message), part }),
      );
    }
    const logprobs = responseLogprobs(tokens);
    const [part] = this.message.content;
    const content: [Text] = [
      { ...part, text: part.text + delta, logprobs: [...part.logprobs, ...logprobs] },
    ];
    this.message = { ...this.message, content };
    const at = this.placeOf(this.message);
    if (delta !== '' || logprobs.length > 0)
      events.push(this.event({ type: 'response.output_text.delta', ...at, delta, logprobs }));
    return events;
  }

  private closeMessage(status: 'completed' | 'incomplete'): ResponseStreamEvent[] {
    if (!this.message) return [];
    const at = this.placeOf(this.message);
    const [part] = this.message.content;
    const { text, logprobs } = part;
    const item: Message = { ...this.message, status };
    const events = [
      this.event({ type: 'response.output_text.done', ...at, text, logprobs }),
      this.event({ type: 'response.content_part.done', ...at, part }),
      this.event({ type: 'response.output_item.done', ...this.place, item }),
    ];
    this.items.push(item);
    this.message = null;
    return events;
  }

  /** Adds a call, which a worker reports when it is complete. */
  private addCall({ name, arguments: given }: ToolCall): ResponseStreamEvent[] {
    const events = this.closeMessage('completed');
    const item: ResponseOutputItem = {
      type: 'function_call',
      id: newId('fc_'),
      call_id: newId('call_'),
      name,
      arguments: given,
      status: 'completed',
    };
    const at = { ...this.place, item_id: item.id };
    const begun: ResponseOutputItem = { ...item, arguments: '', status: 'in_progress' };
    events.push(
      this.event({ type: 'response.output_item.added', ...this.place, item: begun }),
      this.event({ type: 'response.function_call_arguments.delta', ...at, delta: given }),
      this.event({ type: 'response.function_call_arguments.done', ...at, name, arguments: given }),
      this.event({ type: 'response.output_item.done', ...this.place, item }),
    );
    this.items.push(item);
    return events;
  }

  private get place(): { readonly output_index: number } {
    return { output_index: this.items.length };
  }

  private placeOf({ id }: Message): {
    readonly output_index: number;
    readonly item_id: string;
    readonly content_index: number;
  } {
    return { ...this.place, item_id: id, content_index: 0 };
  }

  private usage(): ResponseObject['usage'] {
    const { prompt_tokens: input, completion_tokens: output } = this.last ?? {
      prompt_tokens: 0,
      completion_tokens: 0,
    };
    return {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    };
  }

  private event(event: Unnumbered<ResponseStreamEvent>): ResponseStreamEvent {
    return { ...event, sequence_number: this.sequence++ } as ResponseStreamEvent;
  }
}

const now = (): number => Math.floor(Date.now() / 1000);

const newMessage = (): Message & { readonly content: [Text] } => ({
  type: 'message',
  id: newId('msg_'),
  role: 'assistant',
  status: 'in_progress',
  content: [{ type: 'output_text', text: '', annotations: [], logprobs: [] }],
});

/** Returns the response before it has output. */
export const startOf = ({ body, request }: ParsedResponse): ResponseObject => ({
  id: newId('resp_'),
  object: 'response',
  created_at: now(),
  completed_at: null,
  status: body.background ? 'queued' : 'in_progress',
  error: null,
  incomplete_details: null,
  model: body.model,
  instructions: body.instructions ?? null,
  output: [],
  parallel_tool_calls: body.parallel_tool_calls ?? true,
  temperature: request.temperature,
  top_p: request.top_p,
  top_logprobs: body.top_logprobs ?? 0,
  max_output_tokens: body.max_output_tokens ?? null,
  tool_choice: body.tool_choice ?? 'auto',
  tools: (body.tools ?? []).map(({ type, name, description, parameters, strict }) => ({
    type,
    name,
    description: description ?? null,
    parameters: parameters ?? null,
    strict: strict ?? null,
  })),
  text: { format: body.text?.format ?? { type: 'text' } },
  truncation: body.truncation ?? 'disabled',
  store: body.store ?? true,
  background: body.background ?? false,
  previous_response_id: body.previous_response_id ?? null,
  metadata: body.metadata ?? {},
  usage: null,
});
