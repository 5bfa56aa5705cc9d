import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { debianFiles } from '../download/debian.js';
import { greyPng } from '../formats/grey-png.js';
import type { ExampleData, Progress } from '../example.js';
import { labelledData, type Labelled, type LabelledHeldOut } from '../labelled-data.js';

// Fashion-MNIST (Zalando SE, MIT) from its Debian package: grayscale photos of 28 × 28 pixels of Zalando's products.
const DEB = {
  path: 'pool/main/d/dataset-fashion-mnist/dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb',
  sha256: '39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0',
  what: 'Fashion-MNIST (Debian package dataset-fashion-mnist)',
};
/** Version of the recipe in the folder's name. Increase it if the same package yields different files. */
const RECIPE = 1;
const SIDE = 28;
const IMAGE_HEADER = 16;
const LABEL_HEADER = 8;
export const TRAIN_EACH = 100;
export const HELD_OUT_EACH = 20;

const LABELS = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
];

type Image = Labelled<'image'>;

/** Creates the two files of the example in `cache` from the Debian package. */
export const fashionData = (
  cache: string,
  progress: Progress,
): Promise<ExampleData<LabelledHeldOut<'image'>>> =>
  labelledData(join(cache, `fashion-${TRAIN_EACH}-${HELD_OUT_EACH}-r${RECIPE}`), {
    medium: 'image',
    name: 'fashion',
    make: async () => {
      const files = new Map<string, Buffer>();
      for (const { name, data } of await debianFiles(DEB, cache, progress))
        if (name.endsWith('-ubyte.gz')) files.set(name.slice(name.lastIndexOf('/') + 1), data);
      return {
        train: firstOfEach(files, 'train', TRAIN_EACH),
        heldOut: firstOfEach(files, 't10k', HELD_OUT_EACH),
      };
    },
  });

/** First `each` images of each label, in the order of the files. */
export function firstOfEach(
  files: ReadonlyMap<string, Buffer>,
  part: 'train' | 't10k',
  each: number,
): Image[] {
  const unpacked = (name: string): Buffer => {
    const file = files.get(`${part}-${name}-ubyte.gz`);
    if (!file) throw new Error(`the package of Fashion-MNIST has no ${part}-${name}-ubyte.gz`);
    return gunzipSync(file);
  };
  const pixels = unpacked('images-idx3').subarray(IMAGE_HEADER);
  const labels = unpacked('labels-idx1').subarray(LABEL_HEADER);
  const left = LABELS.map(() => each);
  const found: Image[] = [];
  for (const [at, number] of labels.entries()) {
    const more = left[number];
    if (!more) continue;
    left[number] = more - 1;
    const png = greyPng(pixels.subarray(at * SIDE * SIDE, (at + 1) * SIDE * SIDE), SIDE);
    const image = `data:image/png;base64,${png.toString('base64')}`;
    found.push({ image, label: LABELS[number] ?? '' });
  }
  if (found.length !== each * LABELS.length)
    throw new Error(`too few images of Fashion-MNIST: found ${found.length}`);
  return found;
}
