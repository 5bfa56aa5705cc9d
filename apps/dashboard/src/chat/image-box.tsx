import { api } from '../api/api.js';
import { cosine, Share, type Label } from './ask-box.js';
import { Labels, MediaBox, type MediaKind } from './media-box.js';

type Vector = readonly number[];

const IMAGES: MediaKind = {
  medium: 'image',
  accept: 'image/jpeg,image/png,image/gif,image/webp',
  plural: 'images',
  one: 'an image',
  hint: 'JPEG, PNG, GIF or WebP of at most 25 MB',
  waiting: 'Processing…',
};

/** Classifies images. */
export const ImageLabelBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Label>
    kind={IMAGES}
    models={models}
    ask={async (model, file, onAnswer, signal) => {
      const [answer] = await api.classifyFile(model, file, signal);
      onAnswer(answer ?? {});
    }}
    show={(answer) => <Labels answer={answer} />}
  />
);

/**
 * Compares images by their embeddings. It shows similarities to the first image, because raw
 * vectors are hard to read.
 */
export const ImageSimilarityBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Vector>
    kind={IMAGES}
    models={models}
    ask={async (model, file, onAnswer, signal) => {
      const [vector] = await api.embedFile(model, file, signal);
      onAnswer(vector ?? []);
    }}
    show={(vector, first) => (
      <p>
        Cosine similarity to the first: <Share value={cosine(first, vector)} />
      </p>
    )}
  />
);
