/** Full fine-tuning: the run trains its own f32 copy of every parameter; the shared base stays unchanged. */
import { z } from 'zod';
import { defineMethod } from './method.js';
import { restore } from './frame/parameters.js';
import { inDtype, ModulesToSave, trainAll, wholeModel } from './targets/modules-to-save.js';

const Options = z.strictObject({});

export const full = defineMethod<z.infer<typeof Options>>({
  name: 'FULL',
  title: 'Full fine-tuning',
  summary: 'Trains every weight of the model. Needs many times the memory of the other methods.',
  paper: null,
  defaultLearningRate: 2e-5,
  options: Options,
  unsupported: {},
  tensors: {},
  footprint: (outline) => ({ trainableParameters: wholeModel(outline), virtualTokens: 0 }),
  attach(model, _, { run }) {
    const own = new ModulesToSave(run);
    try {
      trainAll(own, model.modules);
    } catch (error) {
      own.dispose();
      throw error;
    }
    return {
      parameters: own.parameters,
      exported: () => new Map(own.parameters),
      load: (stored) =>
        restore(
          own.parameters,
          new Map([...stored].filter(([name]) => !model.constants.has(name))),
        ),
      merged: () => inDtype(new Map([...own.parameters, ...model.constants]), model.dtype),
      resolvedConfig: () => ({}),
      detach() {
        model.modules.detach(run);
        own.dispose();
      },
    };
  },
});
