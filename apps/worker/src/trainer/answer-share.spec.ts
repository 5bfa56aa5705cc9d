import { expect, it } from 'vitest';
import { AnswerShare } from './answer-share.js';

const shareOf = (...areBatches: readonly boolean[]): AnswerShare => {
  const share = new AnswerShare();
  areBatches.forEach((isBatch, i) => share.begin(String(i), isBatch));
  return share;
};

/** Seconds for requests per second of training. */
function ratioOf(share: AnswerShare, turn: number, token: number): number {
  let [trained, answered] = [0, 0];
  for (let turns = 0; turns < 10_000; turns++) {
    share.trained(turn, true);
    trained += turn;
    for (let left = share.seconds; left > 0; left -= token) {
      share.answered(token);
      answered += token;
    }
  }
  return answered / trained;
}

it.each([
  ['shorter than an answer', 0.001, 0.05],
  ['longer than an answer', 1.5, 0.01],
])('gives requests as much time as training with %s turns', (_, turn, token) => {
  expect(ratioOf(shareOf(false), turn, token)).toBeCloseTo(1, 1);
  expect(ratioOf(shareOf(true, false), turn, token)).toBeCloseTo(1, 1);
});

it('gives a tenth of the time to lines of batches without other requests', () => {
  const share = shareOf(true, false, true);
  share.end('1');
  expect(ratioOf(share, 0.1, 0.01)).toBeCloseTo(1 / 9, 2);
});

it('saves up no time without requests, and at most two seconds with them', () => {
  const share = shareOf(false);
  for (let turns = 0; turns < 9; turns++) share.trained(1, false);
  expect(share.seconds).toBe(0);
  for (let turns = 0; turns < 9; turns++) share.trained(1, true);
  expect(share.seconds).toBe(2);
});

it('delays requests by the time that the last one overdrew', () => {
  const share = shareOf(false);
  share.trained(1, true);
  share.answered(4);
  share.trained(1, true);
  expect(share.seconds).toBeLessThan(0);
  for (let turns = 0; turns < 3; turns++) share.trained(1, true);
  expect(share.seconds).toBe(1);
});
