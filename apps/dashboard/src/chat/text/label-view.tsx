import { ShareBars, percent } from '../shares.js';
import { answerText, certainty, labelAnswer, type RawAnswer } from './label-answer.js';

/** Labels of one input: the answer as a headline, and the probabilities as bars. */
export function LabelView({ answer }: { answer: RawAnswer }) {
  const read = labelAnswer(answer);
  const share = certainty(read);
  const chosen = read.kind === 'label' ? [read.label] : read.kind === 'labels' ? read.labels : [];
  return (
    <>
      <p className="headline">
        <b className="break">{answerText(read)}</b>
        {share !== null && <span className="faint numbers">{percent(share)}</span>}
      </p>
      {'shares' in read && read.shares.length > 1 && (
        <ShareBars shares={read.shares} chosen={chosen} />
      )}
    </>
  );
}
