import { add, copy_, counterNormal, mul, noGrad, tidy } from '@graft/kernels';
import type { Adapter } from '@graft/peft-core';

/**
 * Perturbs parameters from their initialization, because a parameter multiplied by a zero would get no
 * gradient.
 */
export function stir({ parameters }: Adapter): void {
  noGrad(() =>
    tidy(() => {
      let at = 0;
      for (const parameter of parameters.values()) {
        const noise = counterNormal(parameter.shape, { seed: 7, step: 0, site: 0 }, at);
        copy_(parameter, add(parameter, mul(noise, 0.1)));
        at += parameter.size;
      }
    }),
  );
}
