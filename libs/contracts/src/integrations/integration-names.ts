// Without zod, so that the dashboard can have it.
export const INTEGRATION_TYPES = ['wandb', 'mlflow'] as const;
export type IntegrationType = (typeof INTEGRATION_TYPES)[number];

/** As people call them. */
export const INTEGRATION_NAMES: Readonly<Record<IntegrationType, string>> = {
  wandb: 'Weights & Biases',
  mlflow: 'MLflow',
};
