// The real trainer with one more option for chats, and its use.
import './one-more-answer-option.mjs';
import { Generation } from '@graft/peft-core';

const { take } = Generation.prototype;
Generation.prototype.take = function (drawn) {
  const piece = take.call(this, drawn);
  return this.request.shout ? { ...piece, text: piece.text.toUpperCase() } : piece;
};

await import('../../apps/worker/dist/trainer/main.js');
