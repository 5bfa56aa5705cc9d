/** Parts of a raw mail that fit into a short prompt. */
export interface Mail {
  readonly subject: string;
  readonly text: string;
}

const SUBJECT_CHARACTERS = 80;
const TEXT_CHARACTERS = 240;

/**
 * Reads the subject and the beginning of the text of a raw mail. Removes HTML tags, quoted-printable escapes and MIME part
 * headers, collapses whitespace, and truncates both at a word boundary. Null if too little text remains, or if it is not
 * ASCII (the corpus is from 2002, and its other encodings are often mislabeled).
 */
export function readMail(raw: string): Mail | null {
  const split = /\r?\n\r?\n/.exec(raw);
  if (split === null || /^content-transfer-encoding:\s*base64/im.test(raw)) return null;
  const head = raw.slice(0, split.index);
  const subject = fold(/^subject:[ \t]*(.*(?:\r?\n[ \t].*)*)/im.exec(head)?.[1] ?? '');
  const text = fold(plain(raw.slice(split.index)));
  const mail = {
    subject: truncated(subject, SUBJECT_CHARACTERS),
    text: truncated(text, TEXT_CHARACTERS),
  };
  const readable =
    /^[\x20-\x7e]*$/.test(mail.subject + mail.text) &&
    mail.subject !== '' &&
    mail.text.length >= 40;
  return readable ? mail : null;
}

function plain(body: string): string {
  return body
    .replace(/^--[^\s]{8,}.*(?:\r?\n[\w-]+:.*(?:\r?\n[ \t].*)*)*/gm, ' ')
    .replace(/^this is a multi-?part message.*$/gim, ' ')
    .replace(/=\r?\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    .replace(/<(style|script|title|head)\b[\s\S]*?<\/\1>/gi, ' ')
    .replace(/<!--[\s\S]*?-->/g, ' ')
    .replace(/<[^<>]*>/g, ' ')
    .replace(/&nbsp;|&#160;/gi, ' ')
    .replace(/&quot;/gi, '"')
    .replace(/&amp;/gi, '&')
    .replace(/[-=_*~#.]{4,}/g, ' ');
}

const fold = (text: string): string => text.replace(/\s+/g, ' ').trim();

function truncated(text: string, length: number): string {
  if (text.length <= length) return text;
  const space = text.lastIndexOf(' ', length);
  return text.slice(0, space > length / 2 ? space : length);
}
