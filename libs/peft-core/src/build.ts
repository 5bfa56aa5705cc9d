/** The only place where a model and a method meet. */
import type { Adapter, AttachContext } from './methods/method.js';
import { parsePeft } from './methods/config.js';
import type { PeftConfig } from './methods/config.js';
import type { Model } from './models/model.js';

/**
 * Attaches what a Spec's `peft` asks for to the run's rows of the model.
 * @throws DomainError with param `peft.<field>` when the config is wrong or does not fit the model
 */
export function attachMethod(model: Model, peft: PeftConfig, init: AttachContext): Adapter {
  const { method, options } = parsePeft(peft);
  try {
    return method.attach(model, options, init);
  } catch (error) {
    // half an adapter must not stay on the shared base
    model.sites.detach(init.run);
    throw error;
  }
}
