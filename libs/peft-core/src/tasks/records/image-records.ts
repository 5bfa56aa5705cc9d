// Records of labeled images: with their own keys, or as OpenAI chats with an image_url.
import { dataUrlProblem } from '../../data/data-url.js';
import type { JsonObject } from '../../data/json-line.js';
import { checkLabel } from '../labels/label-task.js';
import { checkLabelled, labelOf } from './media-records.js';
import { isObject, unknownKey } from './record-checks.js';
import type { RecordFormat } from '../task.js';

export interface ImageRecord {
  /** Name of its format. */
  readonly format: string;
  readonly image: string;
  readonly label: unknown;
  readonly ignored: readonly string[];
}

export const IMAGE_RECORDS: readonly RecordFormat[] = [
  {
    name: 'image',
    keys: ['image', 'label'],
    more: ['labels'],
    cells: { label: 'label', labels: 'json' },
    nouns: ['labeled image', 'labeled images'],
    line: '{"image":"data:image/jpeg;base64,…","label":"…"}',
    learnt: ['label'],
  },
  {
    name: 'image chat',
    keys: ['messages'],
    cells: { messages: 'json' },
    nouns: ['chat about an image', 'chats about images'],
    line: '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,…"}}]},{"role":"assistant","content":"…"}]}',
    learnt: ['messages'],
  },
];

const FORMATS = '{"image","label"}, {"image","labels"} or {"messages"} with an image_url';
const KINDS: readonly unknown[] = ['image_url', 'text'];
const EXTRA_TEXT = 'messages[].content[].text';

/** Returns why a record cannot be used for training, or null. */
export function checkImageRecord(record: JsonObject): string | null {
  if (Object.hasOwn(record, 'messages')) return checkChat(record);
  return checkLabelled(record, 'image', FORMATS);
}

/** Returns image and label of a valid record. */
export function imageRecord(record: JsonObject): ImageRecord {
  const { image, messages } = record;
  if (messages === undefined)
    return { format: 'image', image: image as string, label: labelOf(record), ignored: [] };
  const turns = messages as readonly JsonObject[];
  const parts = turns.at(-2)?.['content'] as readonly JsonObject[];
  const isText = parts.some(({ type }) => type === 'text');
  return {
    format: 'image chat',
    image: urlOf(parts.find(({ type }) => type === 'image_url') as JsonObject) as string,
    label: turns.at(-1)?.['content'],
    ignored: [...(isText ? [EXTRA_TEXT] : []), ...(turns.length > 2 ? ['messages[0]'] : [])],
  };
}

const urlOf = ({ image_url: value }: JsonObject): unknown =>
  isObject(value) ? value['url'] : value;

/**
 * Checks a chat: a user message with one image, then the label as assistant message. A system message is
 * ignored.
 */
function checkChat(record: JsonObject): string | null {
  const { messages } = record;
  const unknown = unknownKey(record, ['messages']);
  if (unknown !== null) return unknown;
  if (!Array.isArray(messages) || !messages.every(isObject))
    return '"messages" must be a list of messages';
  const turns = messages as readonly JsonObject[];
  const roles = turns.map(({ role }) => (role === 'developer' ? 'system' : role));
  if (!['user,assistant', 'system,user,assistant'].includes(roles.join()))
    return 'messages must be one user message with the image and one assistant message with the label';
  const [user, assistant] = turns.slice(-2) as [JsonObject, JsonObject];
  const parts: readonly unknown[] = Array.isArray(user['content']) ? user['content'] : [];
  if (!parts.every((part) => isObject(part) && KINDS.includes(part['type'])))
    return `parts of the user's "content" must be objects of type ${KINDS.join(' or ')}`;
  const images = (parts as readonly JsonObject[]).filter(({ type }) => type === 'image_url');
  const [image] = images;
  if (image === undefined || images.length > 1)
    return `expected one image (image_url) in the user's message, got ${images.length}`;
  if (typeof assistant['content'] !== 'string') return '"content" of the assistant must be a label';
  return dataUrlProblem('image_url', urlOf(image), 'image') ?? checkLabel(assistant['content']);
}
