// Collects the sizes of the images in a file.
import type { DataReport } from '@graft/contracts';

interface Size {
  readonly width: number;
  readonly height: number;
}

export class ImageSizes {
  private count = 0;
  private smallest: Size | null = null;
  private largest: Size | null = null;

  add(size: Size): void {
    this.count++;
    if (this.smallest === null || area(size) < area(this.smallest)) this.smallest = size;
    if (this.largest === null || area(size) > area(this.largest)) this.largest = size;
  }

  /** Sizes; null if there was no image. */
  get reported(): DataReport['pictures'] | null {
    const { count, smallest, largest } = this;
    return smallest && largest ? { looked_at: count, smallest, largest } : null;
  }
}

const area = ({ width, height }: Size): number => width * height;
