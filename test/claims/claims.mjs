// Comparisons of methods: the trials of each, and the table of its results.
import { METHODS, peftOf } from '../bench/peft-configs.mjs';
import { audio, images } from './media.mjs';
import { bars, lines } from './plot.mjs';
import { accepted, FULL, mean, median, megabytes, named, percent, refusals, times } from './say.mjs'; // prettier-ignore

/** Options of seq_cls; `null` derives them from the data. */
const LABELLED = { problem_type: null, labels: null };

/** 1: parameters, size, time and memory. One process per method; the methods alternate. */
const cost = {
  name: 'cost',
  title: 'Trainable parameters, file size, time and memory',
  about: ({ quick }) =>
    `SmolLM2-135M on chats made of mails, batches of 4. Each run is a separate process; the methods alternate, ${quick ? 'once' : 'twice'}. A step is forward pass, backward pass and optimizer: the median after one warm-up step. Memory is the largest resident set of the process, including ${megabytes(270e6)} of base model in bf16. Full fine-tuning trains an f32 copy of every weight, and its file is the whole model in bf16.`,
  jobs({ data, models, quick }) {
    const names = quick ? ['LORA', 'IA3', FULL] : Object.keys(METHODS);
    const rounds = quick ? 1 : 2;
    const trial = (name) => ({
      task: 'causal_lm',
      peft: peftOf(name),
      train: data.trainChats,
      examples: 64,
      batch: 4,
      steps: 4,
      maxSeqLen: 256,
    });
    return Array.from({ length: rounds }, (_, round) => round).flatMap((round) =>
      names.map((name) => ({
        key: `${name}/${round}`,
        base: models.smollm2,
        dtype: 'bf16',
        trial: trial(name),
        turn: round,
      })),
    );
  },
  render(results) {
    const by = {};
    for (const [key, found] of Object.entries(results)) {
      const name = key.split('/')[0];
      const rows = (by[name] ??= { rounds: [] });
      if (found.refused) rows.refused = found.refused;
      else rows.rounds.push(found);
    }
    const found = Object.fromEntries(
      accepted(by).map(([name, { rounds }]) => [
        name,
        {
          trainable: rounds[0].trainable,
          share: rounds[0].trainable / rounds[0].parameters,
          bytes: rounds[0].bytes,
          seconds: median(rounds.flatMap(({ stepTimes }) => stepTimes)),
          peak: Math.max(...rounds.map(({ peakBytes }) => peakBytes)),
        },
      ]),
    );
    const full = found[FULL];
    const order = Object.entries(found).sort(([, a], [, b]) => a.seconds - b.seconds);
    const bar = (key, said) => order.map(([name, row]) => ({ label: named(name), value: row[key], said: said(row[key]), marked: name === FULL })); // prettier-ignore
    return {
      columns: ['method', 'trainable parameters', 'of the model', 'file', 'step', 'of full fine-tuning', 'peak memory', 'of full fine-tuning'], // prettier-ignore
      rows: order.map(([name, row]) => [
        named(name),
        row.trainable,
        percent(row.share, 3),
        megabytes(row.bytes),
        `${(1000 * row.seconds).toFixed(0)} ms`,
        full ? times(row.seconds / full.seconds) : '',
        megabytes(row.peak),
        full ? times(row.peak / full.peak) : '',
      ]),
      notes: refusals(by),
      plots: {
        'cost-time': bars({ title: 'Time of a step', rows: bar('seconds', (s) => `${(1000 * s).toFixed(0)} ms`) }), // prettier-ignore
        'cost-memory': bars({ title: 'Peak memory', rows: bar('peak', megabytes) }),
      },
    };
  },
};

/** 2: few examples. Each side has two learning rates; the better one counts. */
const RATES = { LORA: [1e-3, 5e-3], [FULL]: [1e-4, 5e-4] };
const fewShot = {
  name: 'few-shot',
  title: 'Few examples: LoRA and full fine-tuning',
  about: ({ quick }) =>
    `all-MiniLM-L6-v2 classifies spam: accuracy on 200 held-out mails, half of them spam. Both sides have a new head and train for ${quick ? '10' : '32'} steps of 8 examples with ${quick ? 'one seed' : 'three seeds, which change the initial head, the initial LoRA weights and the order'}. Each side ran with two learning rates (${Object.entries(RATES).map(([name, rates]) => `${named(name)} ${rates.join(' and ')}`).join(', ')}). The table shows the rate with the better mean, chosen on the same held-out mails. The band of the plot reaches from the worst seed to the best.`, // prettier-ignore
  jobs({ data, models, quick }) {
    const sizes = quick ? [16, 64] : [16, 32, 64, 128, 256, 512];
    const seeds = quick ? [1] : [1, 2, 3];
    return sizes.flatMap((examples) =>
      seeds.flatMap((seed) =>
        Object.entries(RATES).flatMap(([name, rates]) =>
          rates.map((learningRate) => ({
            key: `${name}/${learningRate}/${examples}/${seed}`,
            base: models.minilm,
            dtype: 'bf16',
            trial: {
              task: 'seq_cls',
              options: LABELLED,
              peft: peftOf(name),
              train: data.train,
              examples,
              seed,
              learningRate,
              steps: quick ? 10 : 32,
              maxSeqLen: 64,
              measured: { heldOut: data.heldOut },
            },
          })),
        ),
      ),
    );
  },
  render(results) {
    const [failed] = Object.values(results).flatMap(({ refused }) => refused ?? []);
    if (failed) throw new Error(`few-shot: ${failed}`);
    const of = (name, rate) =>
      Object.entries(results)
        .map(([key, found]) => [key.split('/'), found.measured.heldOut.accuracy])
        .filter(([[method, learningRate]]) => method === name && Number(learningRate) === rate)
        .map(([[, , examples, seed], accuracy]) => ({ examples: Number(examples), seed: Number(seed), accuracy })); // prettier-ignore
    const chosen = Object.entries(RATES).map(([name, rates]) => {
      const each = rates.map((rate) => ({ rate, rows: of(name, rate) }));
      each.sort(
        (a, b) => mean(b.rows.map((r) => r.accuracy)) - mean(a.rows.map((r) => r.accuracy)),
      );
      return { name, ...each[0] };
    });
    const sizes = [...new Set(chosen[0].rows.map(({ examples }) => examples))];
    const at = (rows, size) => rows.filter(({ examples }) => examples === size).map(({ accuracy }) => accuracy); // prettier-ignore
    return {
      columns: ['examples', ...chosen.map(({ name, rate }) => `${named(name)} (${rate})`)],
      rows: sizes.map((size) => [
        size,
        ...chosen.map(({ rows }) => {
          const all = at(rows, size);
          return `${percent(mean(all))} (${all.map((one) => percent(one)).join(', ')})`;
        }),
      ]),
      plots: {
        'few-shot': lines({
          title: 'Held-out accuracy by the number of examples',
          xTitle: 'training examples',
          series: chosen.map(({ name, rows }) => ({
            name: named(name),
            points: sizes.map((x) => {
              const all = at(rows, x);
              return { x, low: Math.min(...all), middle: mean(all), high: Math.max(...all) };
            }),
          })),
        }),
      },
    };
  },
};

/** 3: forgetting. Adapters have ten times the learning rate of full fine-tuning, as usual. */
const FORGETTING = {
  LORA: 5e-4,
  'LORA all-linear': 5e-4,
  DoRA: 5e-4,
  MISS: 5e-4,
  OFT: 5e-4,
  IA3: 5e-3,
  LN_TUNING: 1e-3,
  PROMPT_TUNING: 1e-2,
  PREFIX_TUNING: 1e-2,
  [FULL]: 5e-5,
};
const forgetting = {
  name: 'forgetting',
  title: 'Forgetting',
  about: ({ quick }) =>
    `SmolLM2-135M trains to answer "spam" or "ham" in ${quick ? '4' : '30'} steps of 4 mails. The loss on 40 passages of Moby-Dick, which the task does not contain, is measured before and after: a rise is forgetting. The last column is the loss of the answers on 40 held-out mails. Removing an adapter undoes the forgetting; full fine-tuning cannot be undone.`,
  jobs: ({ data, models, quick }) =>
    (quick ? ['LORA', FULL] : Object.keys(FORGETTING)).map((name) => ({
      key: name,
      base: models.smollm2,
      dtype: 'bf16',
      trial: {
        task: 'causal_lm',
        peft: peftOf(name),
        learningRate: FORGETTING[name],
        train: data.trainChats,
        batch: 4,
        steps: quick ? 4 : 30,
        maxSeqLen: 256,
        measured: { prose: data.prose, 'base:prose': data.prose, heldOut: data.heldOutSome },
      },
    })),
  render(results) {
    const rows = accepted(results).map(([name, { measured, steps, learningRate }]) => {
      const [before, after] = [measured['base:prose'].loss, measured.prose.loss];
      return { name, before, after, rise: after - before, loss: measured.heldOut.loss, steps, learningRate }; // prettier-ignore
    });
    rows.sort((a, b) => a.rise - b.rise);
    const signed = (n) => (n >= 0 ? `+${n.toFixed(3)}` : n.toFixed(3));
    return {
      columns: [
        'method',
        'learning rate',
        'loss before',
        'loss after',
        'change',
        'held-out answers',
      ],
      rows: rows.map(({ name, before, after, rise, loss }) => [
        named(name),
        String(FORGETTING[name]),
        before.toFixed(3),
        after.toFixed(3),
        signed(rise),
        loss.toFixed(3),
      ]),
      notes: refusals(results),
      plots: {
        forgetting: bars({
          title: 'Rise of the loss on prose (nats per token); a fall is drawn as zero',
          rows: rows.map(({ name, rise }) => ({ label: named(name), value: rise, said: signed(rise), marked: name === FULL })), // prettier-ignore
        }),
      },
    };
  },
};

/** 4: one base model for eight tasks. */
const TASKS = 8;
const serving = {
  name: 'serving',
  title: 'One base model for eight tasks',
  about: ({ quick }) =>
    `SmolLM2-135M in bf16 with eight LoRA adapters (r 16, all linear layers) in one process, compared with eight full copies of the model in another, ${quick ? '1 round' : '3 rounds'}. A request has a prompt of 25 words, generates ${quick ? 4 : 16} tokens, and uses another task than the request before. Memory is the resident memory after every task has responded. Ready is the time until every task has generated a token.`,
  jobs: ({ models, quick }) =>
    ['adapters', 'copies'].map((kind) => ({
      key: kind,
      serve: {
        kind,
        base: models.smollm2,
        count: TASKS,
        peft: peftOf('LORA all-linear'),
        rounds: quick ? 1 : 3,
        tokens: quick ? 4 : 16,
      },
    })),
  render({ adapters, copies }) {
    const row = (title, key, said) => [title, said(adapters[key]), said(copies[key]), times(copies[key] / adapters[key])]; // prettier-ignore
    const ms = (value) => `${value.toFixed(1)} ms`;
    return {
      columns: ['', 'eight adapters', 'eight copies', 'copies / adapters'],
      rows: [
        row('memory', 'bytes', megabytes),
        row('ready', 'readyMs', (value) => `${(value / 1000).toFixed(2)} s`),
        row('first token, tasks alternating', 'firstMs', ms),
        row('each further token', 'tokenMs', ms),
        row('eight requests together, tokens per second', 'tokensPerSecond', (v) => v.toFixed(0)),
      ],
      plots: {
        serving: bars({
          title: 'Memory of eight tasks',
          rows: [
            { label: 'eight adapters', value: adapters.bytes, said: megabytes(adapters.bytes) },
            { label: 'eight copies', value: copies.bytes, said: megabytes(copies.bytes), marked: true }, // prettier-ignore
          ],
        }),
      },
    };
  },
};

/** 5: the same time for every method. */
const EQUAL_SECONDS = 4;
const equalTime = {
  name: 'equal-time',
  title: 'The same time for every method',
  about: ({ quick }) =>
    `all-MiniLM-L6-v2 classifies spam from 512 mails in batches of 8. Every method trains for ${quick ? 1 : EQUAL_SECONDS} seconds with the default learning rate that Graft uses for it. Accuracy and loss are measured on 200 held-out mails. The head is new and trained by all.`,
  jobs: ({ data, models, quick }) =>
    (quick ? ['LORA', FULL] : Object.keys(METHODS)).map((name) => ({
      key: name,
      base: models.minilm,
      dtype: 'bf16',
      trial: {
        task: 'seq_cls',
        options: LABELLED,
        peft: peftOf(name),
        train: data.train,
        seconds: quick ? 1 : EQUAL_SECONDS,
        maxSeqLen: 64,
        measured: { heldOut: data.heldOut },
      },
    })),
  render(results) {
    const rows = accepted(results).map(([name, { measured, steps, trainable }]) => ({ name, steps, trainable, ...measured.heldOut })); // prettier-ignore
    rows.sort((a, b) => b.accuracy - a.accuracy || a.loss - b.loss);
    return {
      columns: ['method', 'accuracy', 'loss', 'steps', 'trainable parameters'],
      rows: rows.map(({ name, accuracy, loss, steps, trainable }) => [
        named(name),
        percent(accuracy),
        loss.toFixed(3),
        steps,
        trainable,
      ]),
      notes: refusals(results),
      plots: {
        'equal-time': bars({
          title: 'Held-out accuracy after the same time',
          rows: rows.map(({ name, accuracy }) => ({ label: named(name), value: accuracy, said: percent(accuracy), marked: name === FULL })), // prettier-ignore
        }),
      },
    };
  },
};

export const claims = [cost, fewShot, forgetting, serving, equalTime, images, audio];
