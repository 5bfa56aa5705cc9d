import { expect, it } from 'vitest';
import { AnswerShare } from './answer-share.js';

it.each([
  ['shorter than an answer', 0.001, 0.05],
  ['longer than an answer', 1.5, 0.01],
])('gives requests as much time as training with %s turns', (_, turn, token) => {
  const share = new AnswerShare();
  let [trained, answered] = [0, 0];
  for (let turns = 0; turns < 10_000; turns++) {
    share.trained(turn, true);
    trained += turn;
    for (let left = share.seconds; left > 0; left -= token) {
      share.answered(token);
      answered += token;
    }
  }
  expect(answered / trained).toBeCloseTo(1, 1);
});

it('saves up no time without requests, and at most two seconds with them', () => {
  const share = new AnswerShare();
  for (let turns = 0; turns < 9; turns++) share.trained(1, false);
  expect(share.seconds).toBe(0);
  for (let turns = 0; turns < 9; turns++) share.trained(1, true);
  expect(share.seconds).toBe(2);
});

it('delays requests by the time that the last one overdrew', () => {
  const share = new AnswerShare();
  share.trained(1, true);
  share.answered(4);
  share.trained(1, true);
  expect(share.seconds).toBeLessThan(0);
  for (let turns = 0; turns < 3; turns++) share.trained(1, true);
  expect(share.seconds).toBe(1);
});
