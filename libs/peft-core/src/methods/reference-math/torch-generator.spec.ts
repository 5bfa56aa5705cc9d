// Expected values of PyTorch 2.13 on a CPU.
import { expect, it } from 'vitest';
import { TorchGenerator } from './torch-generator.js';

it('draws the same bits as uniform_', () => {
  const drawn = new TorchGenerator(7).uniform(100_000, -0.3, 0.3);
  expect([...drawn.slice(0, 3)]).toEqual([
    0.020953524857759476, -0.1807180941104889, 0.09552702307701111,
  ]);
  expect([...drawn.slice(-3)]).toEqual([
    -0.14867062866687775, 0.05938858166337013, -0.15376879274845123,
  ]);
  const bits = new Uint32Array(drawn.buffer);
  expect(bits.reduce((sum, value) => sum + value, 0)).toBe(210786923086344);
});

it('accepts a negative seed', () => {
  expect([...new TorchGenerator(-5).uniform(5, 0, 1)]).toEqual([
    0.9308151006698608, 0.6607242226600647, 0.9807688593864441, 0.9324097037315369,
    0.1761419177055359,
  ]);
});

it.each([
  [3, [0.33669035438385886, 0.1288094051365897, 0.23446236336153173]],
  [
    18,
    [
      0.2995562877502637, 0.24237779080894106, 1.2715909667771088, 0.618669993885617,
      -0.03720300727052493, 1.0352472972512925, -0.010085521702337353, 0.08948016046560357,
      0.038435238263354446, -0.11824373914203358, -0.5798414554742108, 0.875893884648022,
      0.39238484373268534, 1.108461181451433, 0.8651734647119074, 0.855215961472287,
      0.2494118796915765, 0.2615836907112959,
    ],
  ],
])('draws %i normal numbers in f64 like torch.randn', (size, expected) => {
  const drawn = new TorchGenerator(42).normal64(size);
  expect(drawn.length).toBe(size);
  expected.forEach((value, i) => expect(drawn[i]).toBeCloseTo(value, 12));
});

it('permutes like randperm, also without a seed', () => {
  expect([...new TorchGenerator(123).permutation(1000, 10)]).toEqual([
    382, 974, 946, 31, 512, 42, 918, 564, 827, 227,
  ]);
  expect([...new TorchGenerator().permutation(1000, 10)]).toEqual([
    710, 930, 691, 853, 973, 409, 18, 237, 243, 826,
  ]);
  expect([...new TorchGenerator(777).permutation(214748363, 5)]).toEqual([
    11440646, 199500216, 10121607, 3119241, 51696020,
  ]);
  expect(() => new TorchGenerator(777).permutation(214748364, 5)).toThrow(RangeError);
  const whole = new TorchGenerator(1).permutation(50, 50);
  expect([...whole].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
});

it.each([
  [3, [0.33669036626815796, 0.12880940735340118, 0.23446236550807953]],
  [
    16,
    [
      1.9269152879714966, 1.4872840642929077, 0.9007171988487244, -2.1055209636688232,
      0.6784184575080872, -1.2345448732376099, -0.04306747764348984, -1.6046669483184814,
      -0.7521352767944336, 1.6487230062484741, -0.3924786448478699, -1.4036071300506592,
      -0.7278813123703003, -0.5594301819801331, -0.7688388824462891, 0.7624453902244568,
    ],
  ],
  [
    18,
    [
      1.9269152879714966, 1.4872840642929077, -0.4973975419998169, 0.439589262008667,
      -0.7581311464309692, 1.078317642211914, 0.8008005619049072, 1.680620551109314,
      0.3558599054813385, -0.6866229772567749, 0.610466480255127, 1.334737777709961,
      -0.2316243201494217, 0.041759490966796875, -0.2515752911567688, 0.859858512878418,
      -0.3097267746925354, -0.3957104980945587,
    ],
  ],
])('draws %i normal numbers like torch.normal, except for the last bits', (size, expected) => {
  const drawn = new TorchGenerator(42).normal(size, 1);
  expect(drawn.length).toBe(size);
  expected.forEach((value, i) => expect(drawn[i]).toBeCloseTo(value, 5));
});
