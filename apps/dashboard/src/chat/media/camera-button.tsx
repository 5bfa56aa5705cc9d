import { Camera } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { Button } from '../../ui/controls/button.js';
import { Modal } from '../../ui/overlays/modal.js';

interface Props {
  readonly onTaken: (file: File) => void;
  readonly onError: (error: Error) => void;
}

/** Whether there is a camera. Browsers list devices only on https pages and on localhost. */
function useHasCamera(): boolean {
  const [has, setHas] = useState(false);
  useEffect(() => {
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    devices?.enumerateDevices().then(
      (all) => setHas(all.some(({ kind }) => kind === 'videoinput')),
      () => undefined,
    );
  }, []);
  return has;
}

/** Takes a photo with the camera. Hidden if there is none. */
export function CameraButton({ onTaken, onError }: Props) {
  const has = useHasCamera();
  const [stream, setStream] = useState<MediaStream | null>(null);
  const count = useRef(0);
  const close = () => setStream(null);
  // Releases the camera when the dialog closes or the page is left.
  useEffect(() => () => stream?.getTracks().forEach((track) => track.stop()), [stream]);
  if (!has) return null;
  const open = () =>
    navigator.mediaDevices
      .getUserMedia({ video: true })
      .then(setStream, (error: Error) =>
        onError(
          new Error(
            error.name === 'NotAllowedError'
              ? 'The browser blocked the camera. Allow it for this page and try again.'
              : `The camera cannot be used: ${error.message}`,
          ),
        ),
      );
  return (
    <>
      <Button icon={<Camera />} onClick={() => void open()}>
        Camera
      </Button>
      {stream && (
        <CameraDialog
          stream={stream}
          close={close}
          take={(image) => {
            close();
            onTaken(new File([image], `photo-${++count.current}.jpg`, { type: 'image/jpeg' }));
          }}
        />
      )}
    </>
  );
}

interface DialogProps {
  readonly stream: MediaStream;
  readonly close: () => void;
  readonly take: (image: Blob) => void;
}

function CameraDialog({ stream, close, take }: DialogProps) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (video.current) video.current.srcObject = stream;
  }, [stream]);
  const shoot = () => {
    const { current } = video;
    if (!current) return;
    const canvas = document.createElement('canvas');
    canvas.width = current.videoWidth;
    canvas.height = current.videoHeight;
    canvas.getContext('2d')?.drawImage(current, 0, 0);
    canvas.toBlob((image) => image && take(image), 'image/jpeg', 0.92);
  };
  return (
    <Modal label="Camera" className="camera" close={close}>
      <video ref={video} autoPlay muted playsInline aria-label="Camera preview" />
      <div className="bar">
        <span className="grow" />
        <Button onClick={close}>Cancel</Button>
        <Button variant="primary" onClick={shoot}>
          Take photo
        </Button>
      </div>
    </Modal>
  );
}
