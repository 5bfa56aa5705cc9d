// No zod: the dashboard bundles this file.
export const INTEGRATION_TYPES = ['wandb', 'mlflow'] as const;
export type IntegrationType = (typeof INTEGRATION_TYPES)[number];

/** Display names. */
export const INTEGRATION_NAMES: Readonly<Record<IntegrationType, string>> = {
  wandb: 'Weights & Biases',
  mlflow: 'MLflow',
};
