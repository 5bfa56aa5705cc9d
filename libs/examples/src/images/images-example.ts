import { classificationExample } from '../classification-example.js';
import { dinov2Small } from './dinov2.js';
import { fashionData } from './fashion-data.js';

export const imagesExample = classificationExample({
  medium: 'image',
  name: 'images',
  summary: 'classifies photos of clothes and shoes (vision model)',
  licence: 'MIT licence',
  several: 'images',
  heading: 'image',
  suffix: 'clothes',
  learningRate: 3e-4,
  base: dinov2Small,
  data: fashionData,
});
