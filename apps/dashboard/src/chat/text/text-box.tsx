import { LabelBox } from './label-box.js';
import { QuestionBox } from './question-box.js';
import { TagBox } from './tag-box.js';

interface Props {
  readonly models: readonly string[];
  readonly task: string | null;
}

/** The playground for a model that reads texts and returns labels, tags or a part of the text. */
export function TextBox({ models, task }: Props) {
  if (task === 'token_cls') return <TagBox models={models} />;
  if (task === 'question_ans') return <QuestionBox models={models} />;
  return <LabelBox models={models} />;
}
