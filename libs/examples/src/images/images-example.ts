import { classificationExample } from '../classification-example.js';
import { dinov2Small } from './dinov2.js';
import { fashionData } from './fashion-data.js';

export const imagesExample = classificationExample({
  medium: 'image',
  name: 'images',
  summary: 'tells ten kinds of clothes and shoes apart by their pictures (a vision model)',
  licence: 'MIT licence',
  several: 'pictures',
  heading: 'picture',
  suffix: 'clothes',
  learningRate: 3e-4,
  base: dinov2Small,
  data: fashionData,
});
