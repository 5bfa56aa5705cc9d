import type { CatalogTask, FileObject } from '@graft/contracts';
import { useState } from 'react';
import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';
import type { Draft } from './job-draft.js';

type Chat = readonly { readonly role: string; readonly content: string }[];

interface Props {
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
  readonly task: CatalogTask;
  /** The training file: where it holds chats, a line is a message to answer, else a text to continue. */
  readonly file: FileObject | undefined;
}

const ID = 'graft.sample_prompts';

const isPlain = (prompt: string | Chat): boolean =>
  typeof prompt === 'string' || (prompt.length === 1 && prompt[0]?.role === 'user');

/** One prompt a line, where that says all of them; else the JSON. */
export function linesOf(value: string): string {
  if (!value) return '';
  try {
    const prompts = JSON.parse(value) as readonly (string | Chat)[];
    const texts = prompts.map((one) => (typeof one === 'string' ? one : (one[0]?.content ?? '')));
    if (!prompts.every(isPlain) || texts.some((text) => text.includes('\n'))) return value;
    return texts.join('\n');
  } catch {
    return value;
  }
}

/** What was typed as JSON: lists as they are, else a prompt for each line. */
export function promptsOf(typed: string, chats: boolean): string {
  if (/^\s*\[/.test(typed)) return typed;
  const lines = typed.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return '';
  return JSON.stringify(chats ? lines.map((content) => [{ role: 'user', content }]) : lines);
}

/** `graft.sample_prompts`, where the task's models write text. */
export function SamplePrompts({ draft, change, wrong, task, file }: Props) {
  const [typed, setTyped] = useState(() => linesOf(draft.graft['sample_prompts'] ?? ''));
  const chats = Boolean(file?.graft?.formats['messages']);
  const bad = isOf(wrong, ID);
  if (task.use !== 'chat') return null;
  const type = (text: string) => {
    setTyped(text);
    change({ graft: { ...draft.graft, sample_prompts: promptsOf(text, chats) } });
  };
  return (
    <div className="card">
      <div className={bad ? 'field wrong' : 'field'}>
        <label htmlFor={ID}>sample_prompts</label>
        <textarea
          id={ID}
          rows={3}
          value={typed}
          placeholder="none"
          aria-invalid={bad}
          aria-describedby={described(ID, { help: true, bad })}
          onChange={(e) => type(e.target.value)}
        />
        {bad && <FieldProblem id={ID} wrong={wrong} />}
        <small id={`${ID}-help`}>
          Up to 8, one a line: the adapter answers them at the start, at each evaluation and at the
          end ({chats ? 'as messages of a user' : 'as texts to continue'})
        </small>
      </div>
    </div>
  );
}
