import { api } from '../api/api.js';
import { cosine, Share, type Label } from './ask-box.js';
import { Labels, MediaBox, type Taken } from './media-box.js';

type Vector = readonly number[];

const PICTURES: Taken = {
  medium: 'image',
  accept: 'image/jpeg,image/png,image/gif,image/webp',
  several: 'images',
  one: 'an image',
  hint: 'JPEG, PNG, GIF or WebP of at most 25 MB',
  waiting: 'Processing…',
};

/** Classifies images. */
export const LabelledPictures = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Label>
    taken={PICTURES}
    models={models}
    ask={async (model, file, tell, signal) => {
      const [answer] = await api.classifyFile(model, file, signal);
      tell(answer ?? {});
    }}
    show={(answer) => <Labels answer={answer} />}
  />
);

/**
 * Compares images by their embeddings. It shows similarities to the first image, because raw
 * vectors are hard to read.
 */
export const ComparedPictures = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Vector>
    taken={PICTURES}
    models={models}
    ask={async (model, file, tell, signal) => {
      const [vector] = await api.embedFile(model, file, signal);
      tell(vector ?? []);
    }}
    show={(vector, first) => (
      <p>
        Cosine similarity to the first: <Share value={cosine(first, vector)} />
      </p>
    )}
  />
);
