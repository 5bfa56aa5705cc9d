import {
  expand,
  fill_,
  keep,
  memory,
  mul,
  narrow,
  noGrad,
  sum,
  tensor,
  tidy,
  type Tensor,
} from '@graft/kernels';
import { expect, it } from 'vitest';
import { AdamW, decaysIn } from './adamw.js';

function leaf(values: number[], shape: number[]): Tensor {
  const made = keep(tensor(values, shape));
  made.requiresGrad = true;
  return made;
}

it('updates like torch.optim.AdamW after clip_grad_norm_', () => {
  const weight = leaf([0.5, -1.25, 2, 0.125], [2, 2]);
  const bias = leaf([0.75, -0.5], [2]);
  const optimizer = new AdamW(
    new Map([
      ['weight', weight],
      ['bias', bias],
    ]),
    { weightDecay: 0.1, decays: decaysIn([]) },
  );
  const norms: number[] = [];
  for (let i = 1; i <= 3; i++) {
    tidy(() => {
      const a = mul(weight, tensor([1, 2, 3, 4], [2, 2]));
      const b = mul(bias, 5);
      sum(mul(a, a)).backward();
      mul(sum(mul(b, b)), i).backward();
    });
    norms.push(optimizer.clip(1));
    optimizer.step(0.01);
  }
  // torch 2.13.0: weight with weight_decay 0.1, bias with 0, lr 0.01, clipped to 1
  expect(norms[0]).toBeCloseTo(58.6877326965332, 3);
  expect(norms[2]).toBeCloseTo(136.1921844482422, 3);
  const wanted = [0.4698559045791626, -1.217557668685913, 1.9652975797653198, 0.09625362604856491];
  [...weight.toArray()].forEach((value, i) => expect(value).toBeCloseTo(wanted[i] as number, 6));
  [...bias.toArray()].forEach((value, i) =>
    expect(value).toBeCloseTo([0.7199637293815613, -0.46996238827705383][i] as number, 6),
  );
  expect(weight.grad).toBeNull();
  optimizer.dispose();
});

it('does not change a parameter without a gradient', () => {
  const still = leaf([1, 2], [2]);
  const optimizer = new AdamW(new Map([['still', still]]), { weightDecay: 0.5 });
  expect(optimizer.clip(1)).toBe(0);
  optimizer.step(0.1);
  expect([...still.toArray()]).toEqual([1, 2]);
});

it('returns a non-finite norm if a gradient is not finite', () => {
  const p = leaf([1], [1]);
  const optimizer = new AdamW(new Map([['p', p]]), { weightDecay: 0 });
  tidy(() => sum(mul(p, tensor([Infinity], [1]))).backward());
  expect(optimizer.clip(1)).toBe(Infinity);
});

it('continues from restored moments with the same bits as without interruption', () => {
  const run = (interrupted: boolean): number[] => {
    const p = leaf([0.3, -0.7], [2]);
    let optimizer = new AdamW(new Map([['p', p]]), { weightDecay: 0.01 });
    for (let i = 0; i < 6; i++) {
      if (interrupted && i === 3) {
        const copies = new Map(
          [...optimizer.moments()].map(([name, moment]) => [
            name,
            [...moment.toArray()].map(Number),
          ]),
        );
        const steps = optimizer.steps;
        optimizer.dispose();
        optimizer = new AdamW(new Map([['p', p]]), { weightDecay: 0.01 });
        optimizer.steps = steps;
        noGrad(() =>
          optimizer.moments().forEach((moment, name) =>
            (copies.get(name) as number[]).forEach((value, at) => {
              tidy(() => fill_(narrow(moment, 0, at, 1), value));
            }),
          ),
        );
      }
      tidy(() => sum(mul(mul(p, p), i + 1)).backward());
      optimizer.clip(1);
      optimizer.step(0.05);
    }
    return [...p.toArray()].map(Number);
  };
  expect(run(true)).toEqual(run(false));
});

it('does not decay biases and norms, like the Trainer', () => {
  const layerNorms = ['h.0.ln_1', 'h.1.ln_1', 'ln_f', 'layer.0.norm1'];
  const norms = layerNorms.map((path) => ({ path, kind: 'layer' }) as const);
  const decays = decaysIn([...norms, { path: 'layers.0.gain', kind: 'rms' }]);
  const spared = [
    'model.layers.0.input_layernorm.weight',
    'model.norm.weight',
    'h.0.ln_1.weight',
    'ln_f.weight',
    'h.0.attn.c_attn.bias',
    'layers.1.self_attn.q_norm.weight',
    'layer.0.norm1.weight',
    'layer.0.norm1.ln_tuning_layers',
  ];
  const decayed = [
    'model.layers.0.self_attn.q_proj.lora_A',
    'prompt_embeddings',
    'lm_head.weight',
    'mlp_head.0.weight',
    'layers.0.gain.weight',
    'layer.0.norm11.weight',
  ];
  expect(spared.filter(decays)).toEqual([]);
  expect(decayed.filter(decays)).toEqual(decayed);
});

it('frees the allocated moments if memory does not suffice for all', () => {
  const small = leaf([1, 2], [2]);
  const huge = keep(expand(tensor([0], [1]), [2 ** 46])); // a view: only its moments would take memory
  const before = memory().tensors;
  const parameters = new Map([
    ['small', small],
    ['huge', huge],
  ]);
  expect(() => new AdamW(parameters, { weightDecay: 0 })).toThrow(/memory/);
  expect(memory().tensors).toBe(before);
  huge.dispose();
});
