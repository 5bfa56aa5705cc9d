import type { FileReport } from '@graft/contracts';
import { Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import type { Columns, HfConfig } from '../../catalog/plugins.js';
import { Big, DeletedAt, Float, Int, Json, Now, Text, Time, optional } from '../columns.js';

export interface StoredFile {
  readonly name: string;
  readonly sha256: string;
  readonly size: number;
}

/** Content stored under its hash. */
@Entity('blob')
export class Blob {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_pk' }) sha256!: string;
  @Big() size!: number;
  /** Time at which it was last stored. */
  @Now() created_at!: Date;
  /**
   * Time at which the last reference was removed, maintained by a trigger. `null` if only parts of uploads have
   * referenced it.
   */
  @Time(optional) dropped_at!: Date | null;
}

/** Reference of a row to a blob, maintained by triggers on the tables with such rows. */
@Entity('blob_ref')
@Index('blob_ref_owner', ['kind', 'owner_id'])
@Index('blob_ref_project', ['project_id', 'sha256'])
export class BlobRef {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) sha256!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) kind!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'blob_ref_pk' }) owner_id!: string;
  /** Project whose storage it counts for; `null` for shared blobs. */
  @Text(optional) project_id!: string | null;
  @Big() size!: number;
}

/** Content that rows of a project reference, with the number of references. Maintained by triggers on `blob_ref`. */
@Entity('project_blob')
export class ProjectBlob {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_blob_pk' }) project_id!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'project_blob_pk' }) sha256!: string;
  @Big() size!: number;
  @Int() refs!: number;
}

/**
 * Change of the bytes that a project stores. The sum of its rows is the total. Maintained by triggers on `blob_ref`
 * and `eval_run`.
 */
@Entity('storage_change')
@Index('storage_change_project', ['project_id'])
export class StorageChange {
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    primaryKeyConstraintName: 'storage_change_pk',
  })
  id!: string;
  @Text() project_id!: string;
  @Big() bytes!: number;
}

@Entity('file')
@Index('file_project', ['project_id', 'created_at', 'id'])
@Index('file_sha256', ['sha256'])
@Index('file_expires', ['expires_at'], { where: 'expires_at IS NOT NULL' })
export class File {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'file_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() filename!: string;
  @Text() purpose!: string;
  @Big() bytes!: number;
  @Text() sha256!: string;
  @Text() status!: 'uploaded' | 'processed' | 'error';
  @Text(optional) status_details!: string | null;
  /** Number of training records. */
  @Int({ default: 0 }) records!: number;
  /** Report of the check of training data. */
  @Json(optional) report!: FileReport | null;
  /** Job that created the file, for result files. */
  @Text(optional) job_id!: string | null;
  @Now() created_at!: Date;
  @Time(optional) expires_at!: Date | null;
  /** Deleted together with its job. */
  @DeletedAt() deleted_at!: Date | null;
}

/** A base model (shared by all if it has no project), or the result of a job. */
@Entity('model')
@Index('model_project', ['project_id'])
export class Model {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'model_pk' }) id!: string;
  @Text(optional) project_id!: string | null;
  @Text() kind!: 'base' | 'adapter' | 'full' | 'export';
  @Text(optional) base_id!: string | null;
  @Text(optional) job_id!: string | null;
  @Text(optional) family!: string | null;
  @Text() status!: 'importing' | 'ready' | 'error';
  @Text(optional) status_details!: string | null;
  @Float(optional) progress!: number | null;
  @Big(optional) parameters!: number | null;
  @Big({ default: 0 }) bytes!: number;
  @Text(optional) source!: string | null;
  /** Dtype of the base model in memory when this model was trained. */
  @Text(optional) base_dtype!: string | null;
  /** Quantization of the base model. */
  @Text(optional) quantization!: string | null;
  @Json({ default: () => "'[]'" }) files!: StoredFile[];
  /** Content of config.json (for GGUF: of its header); `null` until it has been read. */
  @Json(optional) config!: HfConfig | null;
  /** API process that imports the model, and the time until which its claim is valid. */
  @Text(optional) import_owner!: string | null;
  @Time(optional) import_until!: Date | null;
  @Now() created_at!: Date;
  /** Deleted together with its job. */
  @DeletedAt() deleted_at!: Date | null;
}

/** An upload in parts. */
@Entity('upload')
@Index('upload_pending', ['expires_at'], { where: "status = 'pending'" })
@Index('upload_file', ['file_id'], { where: 'file_id IS NOT NULL' })
export class Upload {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'upload_pk' }) id!: string;
  @Text() project_id!: string;
  @Text() filename!: string;
  @Text() purpose!: string;
  /** Announced bytes of the whole file. */
  @Big() bytes!: number;
  /** Mapping of a table's columns. */
  @Json({ default: () => "'{}'" }) columns!: Columns;
  /** Lifetime of the file. */
  @Int(optional) lifetime_seconds!: number | null;
  @Text({ default: 'pending' }) status!: 'pending' | 'completed' | 'cancelled' | 'expired';
  @Text(optional) file_id!: string | null;
  @Now() created_at!: Date;
  @Time() expires_at!: Date;
}

@Entity('upload_part')
@Index('upload_part_upload', ['upload_id', 'created_at'])
export class UploadPart {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'upload_part_pk' }) id!: string;
  @Text() upload_id!: string;
  @Text() sha256!: string;
  @Big() size!: number;
  @Now() created_at!: Date;
}

/** Report on a file for a base model. Its key is a hash of everything that it depends on. */
@Entity('data_report')
export class StoredReport {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'data_report_pk' }) key!: string;
  @Json() outcome!: Record<string, unknown>;
  @Now() created_at!: Date;
}

/** A blob that an attempt uploaded. Events of the attempt may only reference such blobs. */
@Entity('artifact')
@Index('artifact_sha256', ['sha256'])
export class Artifact {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) job_id!: string;
  @PrimaryColumn('int', { primaryKeyConstraintName: 'artifact_pk' }) attempt!: number;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) sha256!: string;
  @PrimaryColumn('text', { primaryKeyConstraintName: 'artifact_pk' }) name!: string;
  @Big() size!: number;
  @Now() created_at!: Date;
}
