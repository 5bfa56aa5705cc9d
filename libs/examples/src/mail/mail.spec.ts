import { describe, expect, it } from 'vitest';
import { readMail } from './mail.js';

const body = 'This text is long enough to be kept as a mail, since forty characters are asked for.';

describe('readMail', () => {
  it('returns subject and text with whitespace collapsed', () => {
    const mail = readMail(`From: a\nSubject: Two\n lines\nX: y\n\n${body}\n\nmore   of it`);
    expect(mail).toEqual({ subject: 'Two lines', text: `${body} more of it` });
  });

  it('removes markup, escapes and MIME part headers', () => {
    const raw = `Subject: s\n\n--bound-ary-123\nContent-Type: text/html;\n charset=x\n\n<html><style>p {}</style><p>${body}=\n</p>&nbsp;a=20b &amp; &quot;c&quot;`;
    expect(readMail(raw)?.text).toBe(`${body} a b & "c"`);
  });

  it('truncates at a word boundary', () => {
    const text = readMail(`Subject: s\n\n${'word '.repeat(200)}`)?.text ?? '';
    expect(text.length).toBeLessThanOrEqual(240);
    expect(text.endsWith('word')).toBe(true);
  });

  it('rejects mails that are short, encoded, without a subject or not ASCII', () => {
    expect(readMail('Subject: s\n\nshort')).toBeNull();
    expect(readMail(`Subject: s\nContent-Transfer-Encoding: base64\n\n${body}`)).toBeNull();
    expect(readMail(`From: a\n\n${body}`)).toBeNull();
    expect(readMail(`Subject: s\n\n${body} caf\u00e9`)).toBeNull();
    expect(readMail('no end of headers')).toBeNull();
  });
});
