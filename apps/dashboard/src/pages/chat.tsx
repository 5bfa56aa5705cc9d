import type { ModelObject, ModelUse } from '@graft/contracts';
import { useState, type ReactNode } from 'react';
import { api } from '../api.js';
import { ClassifyBox, EmbedBox } from '../components/ask-box.js';
import { Conversation } from '../components/conversation.js';
import { Failure } from '../components/failure.js';
import { Loading } from '../components/loading.js';
import { useLoaded } from '../loading.js';

const TITLE: Readonly<Record<ModelUse, string>> = {
  chat: 'Chat',
  embed: 'Embeddings',
  classify: 'Labels',
};

const BOX: Readonly<Record<ModelUse, (props: { models: readonly string[] }) => ReactNode>> = {
  chat: Conversation,
  embed: EmbedBox,
  classify: ClassifyBox,
};

/** What a model is used for; of a model that some older API lists, chats. */
const usesOf = (model: ModelObject | undefined): readonly ModelUse[] =>
  model?.graft?.uses.length ? model.graft.uses : ['chat'];

/** A finished model beside its base: the same words go to both, in a box that fits what the model was trained for. */
export function ChatPage({ model }: { model: string | null }) {
  const models = useLoaded(['models', 'ready'], async () =>
    (await api.models()).data.filter((m) => (m.graft?.status ?? 'ready') === 'ready'),
  );
  // A checkpoint is a model that no list has.
  const named = useLoaded(['model', model], async () => (model ? await api.model(model) : null));
  const [chosen, setChosen] = useState(model ?? '');
  const [beside, setBeside] = useState(true);
  const [wanted, setWanted] = useState<ModelUse | null>(null);
  const list: readonly ModelObject[] = models.value ?? [];
  const current = chosen || (list.find((m) => m.graft?.kind !== 'base') ?? list[0])?.id;
  const known = named.value ? [...list, named.value] : list;
  const shown = known.find((m) => m.id === current);
  const uses = usesOf(shown);
  const use = wanted !== null && uses.includes(wanted) ? wanted : (uses[0] ?? 'chat');
  const itsBase = known.find((m) => m.id === shown?.graft?.base);
  const base = itsBase && usesOf(itsBase).includes(use) ? itsBase.id : null;
  const ready = models.value !== null && (!model || named.value !== null || named.error !== null);
  const names = list.map((m) => m.id);
  const sides = ready && current ? [current, ...(beside && base ? [base] : [])] : [];
  const Box = BOX[use];
  return (
    <main>
      <h1>{TITLE[use]}</h1>
      <Failure error={models.error ?? named.error} />
      {!ready && <Loading error={models.error} />}
      <div className="bar">
        <label htmlFor="model">Model</label>
        <select id="model" value={current ?? ''} onChange={(e) => setChosen(e.target.value)}>
          {[...new Set(current ? [...names, current] : names)].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        {uses.length > 1 && (
          <select
            aria-label="What the model is asked for"
            value={use}
            onChange={(e) => setWanted(e.target.value as ModelUse)}
          >
            {uses.map((one) => (
              <option key={one} value={one}>
                {TITLE[one]}
              </option>
            ))}
          </select>
        )}
        {base && (
          <label>
            <input type="checkbox" checked={beside} onChange={(e) => setBeside(e.target.checked)} />{' '}
            compare with its base
          </label>
        )}
      </div>
      {sides.length > 0 ? (
        <Box key={[use, ...sides].join()} models={sides} />
      ) : (
        ready && <p className="faint">No models are ready yet; import a base under Models.</p>
      )}
    </main>
  );
}
